// A network between the devices and the API, which a script can cut: for one device, known by its User-Agent, or for all.
import { createServer, request } from "node:http";

/**
 * `cuts` has the state of a device, or of "all": "unavailable" answers 503 with the headers of CORS, "bare" does without
 * them as many proxies do, "lost" has writes take effect and drops their answers, "gone" drops every request.
 * `traffic` counts the bytes of the API's answers by method and path, heads and bodies.
 */
export async function createNetwork(upstream, port, origin) {
  const cuts = new Map();
  const traffic = new Map();

  function unavailable(answer, headers) {
    answer.writeHead(503, { "Content-Type": "application/json", "Retry-After": "1", ...headers });
    answer.end(JSON.stringify({ detail: "The proxy has no server." }));
  }

  function count(method, path, upstreamAnswer) {
    const head = upstreamAnswer.rawHeaders.reduce((bytes, part) => bytes + part.length + 2, 17);
    const entry = { status: upstreamAnswer.statusCode, bytes: head };
    traffic.set(`${method} ${path}`, entry);
    upstreamAnswer.on("data", (chunk) => (entry.bytes += chunk.length));
  }

  const server = createServer((asked, answer) => {
    const cut = cuts.get("all") ?? cuts.get(asked.headers["user-agent"]);
    const isWrite = !["GET", "OPTIONS"].includes(asked.method);
    if (cut === "gone") return asked.destroy();
    if (cut === "bare") return unavailable(answer);
    if (cut === "unavailable" && asked.method !== "OPTIONS") return unavailable(answer, { "Access-Control-Allow-Origin": origin });
    const options = { method: asked.method, path: asked.url, headers: asked.headers, agent: false };
    const onward = request(upstream, options, (upstreamAnswer) => {
      count(asked.method, asked.url, upstreamAnswer);
      if (cut === "lost" && isWrite) {
        upstreamAnswer.resume();
        return upstreamAnswer.on("end", () => asked.destroy());
      }
      answer.writeHead(upstreamAnswer.statusCode, upstreamAnswer.rawHeaders);
      upstreamAnswer.pipe(answer);
    });
    onward.on("error", () => asked.destroy());
    answer.on("close", () => onward.destroy());
    asked.pipe(onward);
  });
  server.on("clientError", (_, socket) => socket.destroy());
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  return { cuts, traffic, close: () => (server.closeAllConnections(), server.close()) };
}
