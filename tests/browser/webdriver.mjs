// Firefox by WebDriver BiDi, which it speaks itself (https://w3c.github.io/webdriver-bidi/), and WebKit by WebDriver, for
// which it has a server (https://www.w3.org/TR/webdriver2/). Both name the actions of a mouse and a keyboard alike.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import WebSocket from "ws";

const { HOME } = process.env;
// The viewport is less by what is around it.
const SCREEN = "1280x1024x24";
const KEYS = { Control: "\uE009", Enter: "\uE007", Escape: "\uE00C", Tab: "\uE004" };

export async function startFirefox(program) {
  const profile = await mkdtemp(join(HOME, "firefox-"));
  const options = ["--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"];
  const { child, found: address } = await run(program, options, /ws:\S+(?=\s)/);
  const send = await connect(`${address}/session`, complain);
  const pages = new Map();

  function complain({ level, text, source, stackTrace }) {
    const place = stackTrace?.callFrames[0]?.url ?? "";
    if (["error", "warn"].includes(level)) pages.get(source.context)?.complaints.push(`${text} ${place}`);
  }

  async function open() {
    const { userContext } = await send("browser.createUserContext", {});
    const { context } = await send("browsingContext.create", { type: "tab", userContext });
    const page = pageOf({
      navigate: (url) => send("browsingContext.navigate", { context, url, wait: "complete" }),
      async call(script, text) {
        const { exceptionDetails, result } = await send("script.callFunction", {
          functionDeclaration: script,
          arguments: [{ type: "string", value: text }],
          awaitPromise: true,
          target: { context },
        });
        if (exceptionDetails) throw new Error(exceptionDetails.text);
        return result.value;
      },
      perform: (actions) => send("input.performActions", { context, actions }),
      capture: async () => (await send("browsingContext.captureScreenshot", { context })).data,
    });
    pages.set(context, page);
    return page;
  }

  await send("session.new", { capabilities: {} });
  await send("session.subscribe", { events: ["log.entryAdded"] });
  return { open, close: () => Promise.all([send("browser.close", {}), once(child, "exit")]) };
}

/** Give the function that sends a command, and answers with its result; `listen` hears of what happens. */
async function connect(address, listen) {
  const socket = new WebSocket(address);
  await once(socket, "open");
  const waiting = new Map();
  socket.on("message", (data) => {
    const { id, error, message, result, params } = JSON.parse(data);
    if (!id) return listen(params);
    const { resolve, reject } = waiting.get(id);
    return error ? reject(new Error(`${error}: ${message}`)) : resolve(result);
  });
  let id = 0;
  return (method, params) =>
    new Promise((resolve, reject) => {
      waiting.set((id += 1), { resolve, reject });
      socket.send(JSON.stringify({ id, method, params }));
    });
}

/** A server of WebKit has one session, with the cookies of one person: each page gets one of its own. */
export async function startWebKit(program) {
  const { child: screen, found: number } = await run("Xvfb", ["-displayfd", "1", "-screen", "0", SCREEN], /^\d+(?=\s)/m);
  const sessions = [];

  async function open() {
    const port = await freePort();
    const env = { ...process.env, DISPLAY: `:${number}`, LANG: "en_US.UTF-8", NO_AT_BRIDGE: "1" };
    const child = spawn(program, [`--port=${port}`], { env, stdio: "ignore" });
    const server = `http://127.0.0.1:${port}`;
    while (!(await fetch(`${server}/status`).catch(() => false))) await delay(20);
    const { sessionId } = await ask("POST", `${server}/session`, { capabilities: {} });
    const session = `${server}/session/${sessionId}`;
    sessions.push({ child, session });
    return pageOf({
      navigate: (url) => ask("POST", `${session}/url`, { url }),
      async call(script, text) {
        const call = `const [text, done] = arguments; (${script})(text).then(done, (error) => done({ error: String(error) }));`;
        const answer = await ask("POST", `${session}/execute/async`, { script: call, args: [text] });
        if (answer.error) throw new Error(answer.error);
        return answer;
      },
      perform: (actions) => ask("POST", `${session}/actions`, { actions }),
      capture: () => ask("GET", `${session}/screenshot`),
    });
  }

  async function close() {
    for (const { child, session } of sessions) {
      await ask("DELETE", session);
      child.kill();
    }
    screen.kill();
  }

  return { open, close };
}

async function ask(method, address, body) {
  const answer = await fetch(address, { method, body: body && JSON.stringify(body) });
  const { value } = await answer.json();
  if (!answer.ok) throw new Error(`${value.error}: ${value.message}`);
  return value;
}

function pageOf({ navigate, call, perform, capture }) {
  const evaluate = async (script, argument = null) =>
    JSON.parse(await call(`async (text) => JSON.stringify((await (${script})(JSON.parse(text))) ?? null)`, JSON.stringify(argument)));
  const url = () => evaluate(() => location.href);
  const pressed = (keys) => keys.map((value) => ({ type: "keyDown", value }));
  const released = (keys) => keys.map((value) => ({ type: "keyUp", value }));
  const keys = (actions) => perform([{ type: "key", id: "keyboard", actions }]);

  return {
    complaints: [],
    url,
    evaluate,
    goto: navigate,
    reload: async () => navigate(await url()),
    async screenshot({ path }) {
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, await capture(), "base64");
    },
    mouse: {
      click: (x, y) =>
        perform([
          {
            type: "pointer",
            id: "mouse",
            parameters: { pointerType: "mouse" },
            actions: [
              { type: "pointerMove", x: Math.round(x), y: Math.round(y) },
              { type: "pointerDown", button: 0 },
              { type: "pointerUp", button: 0 },
            ],
          },
        ]),
    },
    keyboard: {
      type: (text) => keys([...text].flatMap((key) => [...pressed([key]), ...released([key])])),
      press(chord) {
        const held = chord.split("+").map((name) => KEYS[name] ?? name);
        return keys([...pressed(held), ...released(held.toReversed())]);
      },
    },
  };
}

/** Start a program, and wait until it has written what matches. */
async function run(program, options, pattern) {
  const child = spawn(program, options);
  let text = "";
  const found = await new Promise((resolve, reject) => {
    const read = (chunk) => {
      text += chunk;
      if (pattern.test(text)) resolve(pattern.exec(text)[0]);
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`${program} has ended with ${code}.\n${text}`)));
  });
  return { child, found };
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
