// A network between the devices and the API, which a script can cut: for one device, known by its User-Agent, or for all.
import { createServer, request } from "node:http";

/**
 * `cuts` has the state of a device, or of "all": "unavailable" answers 503 with the headers of CORS, "bare" does without
 * them as many proxies do, "lost" has writes take effect and drops their answers, "gone" drops every request, "missing"
 * answers writes with a 404 that is not the API's.
 * `answers` has what the API answered, in order: method, path, status, bytes of head and body, whether it was a replay.
 */
export async function createNetwork(upstream, port, origin) {
  const cuts = new Map();
  const answers = [];

  function unavailable(answer, headers) {
    answer.writeHead(503, { "Content-Type": "application/json", "Retry-After": "1", ...headers });
    answer.end(JSON.stringify({ detail: "The proxy has no server." }));
  }

  function note(method, path, { statusCode, rawHeaders, headers }) {
    const bytes = rawHeaders.reduce((sum, part) => sum + part.length + 2, 17);
    const entry = { method, path, status: statusCode, bytes, isReplay: "idempotency-replayed" in headers };
    answers.push(entry);
    return entry;
  }

  const server = createServer((asked, answer) => {
    const cut = cuts.get("all") ?? cuts.get(asked.headers["user-agent"]);
    const isWrite = !["GET", "OPTIONS"].includes(asked.method);
    if (cut === "gone") return asked.destroy();
    if (cut === "bare") return unavailable(answer);
    if (cut === "unavailable" && asked.method !== "OPTIONS") return unavailable(answer, { "Access-Control-Allow-Origin": origin });
    if (cut === "missing" && isWrite) {
      answer.writeHead(404, { "Content-Type": "text/plain", "Access-Control-Allow-Origin": origin });
      return answer.end("404 page not found\n");
    }
    const options = { method: asked.method, path: asked.url, headers: asked.headers, agent: false };
    const onward = request(upstream, options, (upstreamAnswer) => {
      const entry = note(asked.method, asked.url, upstreamAnswer);
      upstreamAnswer.on("data", (chunk) => (entry.bytes += chunk.length));
      if (cut === "lost" && isWrite) {
        upstreamAnswer.resume();
        return upstreamAnswer.on("end", () => asked.destroy());
      }
      answer.writeHead(upstreamAnswer.statusCode, upstreamAnswer.rawHeaders);
      upstreamAnswer.pipe(answer);
    });
    onward.on("error", () => answer.writableFinished || asked.destroy());
    // The device has given up.
    answer.on("close", () => answer.writableFinished || onward.destroy());
    asked.pipe(onward);
  });
  server.on("clientError", (_, socket) => socket.destroy());
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  return { cuts, answers, close: () => (server.closeAllConnections(), server.close()) };
}
