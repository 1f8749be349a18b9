// A frontend that knows the plain contract alone: bare fetch, with credentials and a header of its own.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { control, story } from "./story.mjs";

const { API, FRONTEND, STRANGER, TOKEN, UNCHECKED } = process.env;

const BLANK = '<!doctype html><link rel="icon" href="data:,"><title>Blank</title>';

// A real server: to what Playwright answers itself, Chromium denies this machine's addresses.
async function serve() {
  const server = createServer((_, answer) => answer.setHeader("Content-Type", "text/html").end(BLANK));
  server.listen(new URL(FRONTEND).port, "127.0.0.1");
  await once(server, "listening");
  return server;
}

async function visit(open, origin) {
  const page = await open();
  await page.goto(origin);
  return page;
}

/** What a script of the page gets: the status, the body's text and one header; or the error of `fetch`. */
const ask = (page, method, path, { body, token = TOKEN, header = "Link", headers } = {}) =>
  page.evaluate(
    async ({ address, header, ...options }) => {
      try {
        const answer = await fetch(address, { credentials: "include", ...options });
        return [answer.status, await answer.text(), answer.headers.get(header)];
      } catch (error) {
        return [error.name];
      }
    },
    {
      address: `${API}${path}`,
      header,
      method,
      headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json", "X-App-Version": "7", ...headers },
      body,
    },
  );

/** The same with the body as an object. */
async function json(...request) {
  const [status, text, header] = await ask(...request);
  return [status, JSON.parse(text), header];
}

const server = await serve();
await story(async ({ open, step }) => {
  const page = await visit(open, FRONTEND);

  step("a task from its creation to its end");
  const body = JSON.stringify({ title: "Buy milk" });
  const [created, task, location] = await json(page, "POST", "/api/tasks", { body, header: "Location" });
  assert.equal(created, 201);
  assert.equal(location, `/api/tasks/${task.id}`);
  assert.equal(task.completed, false);
  assert.deepEqual(await json(page, "GET", "/api/tasks?status=pending"), [200, [task], null]);

  const again = { body, headers: { "Idempotency-Key": "one" }, header: "Idempotency-Replayed" };
  const [, oats, first] = await json(page, "POST", "/api/tasks", again);
  assert.equal(first, null);
  assert.deepEqual(await json(page, "POST", "/api/tasks", again), [201, oats, "true"]);

  const [toggled, completed, tag] = await json(page, "PATCH", `${location}/complete`, { header: "ETag" });
  assert.deepEqual([toggled, completed.completed, tag], [200, true, `"${completed.updated_at}"`]);
  const stale = { body, headers: { "If-Match": `"${task.updated_at}"` }, header: "ETag" };
  const [refused, conflict, current] = await json(page, "PUT", location, stale);
  assert.deepEqual([refused, conflict.task, current], [412, completed, tag]);
  const [changed, renamed] = await json(page, "PUT", location, { body: JSON.stringify({ ...completed, title: "Oats" }) });
  assert.deepEqual([changed, renamed.title], [200, "Oats"]);

  const [, [, ...none], link] = await json(page, "GET", "/api/tasks?limit=1");
  assert.deepEqual(none, []);
  assert.match(link, /^<\/api\/tasks\?limit=1&cursor=.+>; rel="next"$/);

  assert.deepEqual(await ask(page, "DELETE", `/api/tasks/${oats.id}`), [204, "", null]);
  assert.deepEqual(await ask(page, "DELETE", location), [204, "", null]);

  step("refusals can be read");
  assert.deepEqual(await json(page, "GET", location), [404, { detail: "There is no such task." }, null]);
  const [bad, { detail, errors }] = await json(page, "POST", "/api/tasks", { body: '{"title": " "}' });
  assert.deepEqual([bad, detail], [400, "title must not be blank."]);
  assert.deepEqual(errors, [{ field: "title", message: "must not be blank" }]);
  const [large, { detail: limit }] = await json(page, "POST", "/api/tasks", { body: " ".repeat(70_000) });
  assert.deepEqual([large, limit], [413, "The body is larger than 64 KiB."]);
  const [unknown, , challenge] = await json(page, "GET", "/api/tasks", { token: "no.such.token", header: "WWW-Authenticate" });
  assert.equal(unknown, 401);
  assert.match(challenge, /^Bearer error="invalid_token"/);
  const [away, { detail: keys }, retry] = await json(page, "GET", "/api/tasks", { token: UNCHECKED, header: "Retry-After" });
  assert.deepEqual([away, keys], [503, "No keys could be fetched since this API started; check its BETTER_AUTH_URL and JWKS_URL."]);
  assert.match(retry, /^[0-9]+$/);

  step("another origin gets nothing");
  const stranger = await visit(open, STRANGER);
  assert.deepEqual(await ask(stranger, "GET", "/api/tasks"), ["TypeError"]);
  // Without a preflight, since it has no header of its own.
  assert.equal(await stranger.evaluate((address) => fetch(address).catch(({ name }) => name), `${API}/api/tasks`), "TypeError");

  step("a defect can be read, and no page has complained of anything else");
  await control("break-down");
  const [broken, { detail: defect }, id] = await json(page, "GET", "/api/tasks", { header: "X-Request-ID" });
  assert.deepEqual([broken, defect], [500, "Something is wrong on our side; it has been logged."]);
  assert.match(id, /^[0-9a-f]{32}$/);
  assert.deepEqual(page.complaints.filter((text) => !text.startsWith("Failed to load resource")), []);
});
server.close();
