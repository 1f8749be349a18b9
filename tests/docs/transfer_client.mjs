// Sends and gets files with lib/transfer.ts of docs/frontend.md and openapi-fetch, whose own ways fail as the page says.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import { addTask, exportTasks, importTasks } from "./lib/transfer.mjs";

const { NEXT_PUBLIC_API_URL: baseUrl, TOKEN } = process.env;
const api = createClient({ baseUrl, headers: { Authorization: `Bearer ${TOKEN}` } });

assert.equal((await addTask(api, { title: "Buy milk" })).title, "Buy milk");
for (const type of ["application/jsonl", "text/csv"]) {
  const file = await exportTasks(api, type);
  const count = file.match(/Buy milk/g).length;
  assert.equal(await importTasks(api, file, type), count);
}
await assert.rejects(api.GET("/api/export"), SyntaxError);
const { response } = await api.POST("/api/import", { body: await exportTasks(api, "application/jsonl") });
assert.equal(response.status, 400);
