// Calls the API with the client of docs/frontend.md, as a browser would; Better Auth's part is played by a list of tokens.
import assert from "node:assert/strict";
import { request, forgetToken, todo, ApiError } from "./lib/todo.mjs";
import { pages } from "./lib/pages.mjs";

const { GOOD, FORGED, SHORT } = process.env;
let tokens = [];
let asked = 0;

const fetchFromApi = fetch;
globalThis.fetch = async (address, options) => {
  if (address !== "/api/auth/token") return fetchFromApi(address, options);
  asked += 1;
  const token = tokens.shift();
  return token ? Response.json({ token }) : new Response(null, { status: 401 });
};

/** Do something with these tokens to be had, and none kept; that many have to be asked for. */
async function withTokens(given, expected, action) {
  forgetToken();
  [tokens, asked] = [given, 0];
  await action();
  assert.equal(asked, expected);
}

const refused = (status, message) => (error) =>
  error instanceof ApiError && error.status === status && error.message === message;

// One token for several requests; a 204 has no body; an error is the API's own sentence.
await withTokens([GOOD], 1, async () => {
  const task = await todo("/api/tasks", "POST", { title: "Buy milk", due_date: null });
  assert.equal(task.title, "Buy milk");
  assert.deepEqual(await todo("/api/tasks"), [task]);
  assert.equal(await todo(`/api/tasks/${task.id}`, "DELETE"), undefined);
  await assert.rejects(todo(`/api/tasks/${task.id}`), refused(404, "There is no such task."));
});

// A refused token is replaced once, and the request sent again with its body.
await withTokens([FORGED, GOOD], 2, async () => {
  assert.equal((await request("/api/tasks", "POST", { title: "One" })).status, 201);
});
await withTokens([FORGED, FORGED, GOOD], 2, async () => {
  const reason = "The token's signature does not match; it was signed with another secret or key.";
  await assert.rejects(todo("/api/tasks"), refused(401, reason));
});

// Less than a minute before it expires, a token is not kept.
await withTokens([SHORT, GOOD], 2, async () => {
  await todo("/api/tasks");
  await todo("/api/tasks", "POST", { title: "Two" });
});

// Nobody is signed in: Better Auth is asked once.
await withTokens([], 1, () => assert.rejects(todo("/api/tasks"), refused(401, "You are signed out.")));

// Pages end with the last task.
await withTokens([GOOD], 1, async () => {
  await todo("/api/tasks", "POST", { title: "Three" });
  const titles = [];
  for await (const page of pages("/api/tasks?limit=2&sort=title")) titles.push(page.map(({ title }) => title));
  assert.deepEqual(titles, [["One", "Three"], ["Two"]]);
});
