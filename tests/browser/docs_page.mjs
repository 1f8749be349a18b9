// /docs in a browser, with the viewer's files from its package in the place of the CDN (CDN_STATE=good), the script with
// one other bit (tampered), or no answer at all (silent), as behind a firewall that drops packets.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { screenshot, story } from "./story.mjs";

const { API, TOKEN, CDN, CDN_STATE } = process.env;
const TYPES = { js: "text/javascript", css: "text/css" };

async function fromPackage(address) {
  const name = basename(address);
  const file = await readFile(new URL(import.meta.resolve(`swagger-ui-dist/${name}`)));
  if (CDN_STATE === "tampered" && name.endsWith(".js")) file[file.length - 1] ^= 1;
  return { body: file, headers: { "Access-Control-Allow-Origin": "*", "Content-Type": TYPES[name.split(".").pop()] } };
}

/** Serve what the CDN has; refuse, and list, whatever else is not the API's own. */
async function isolate(page) {
  const strangers = [];
  await page.route("**/*", async (route) => {
    const address = route.request().url();
    if (address.startsWith(`${API}/`)) return route.continue();
    if (address.startsWith(CDN)) return CDN_STATE === "silent" ? undefined : route.fulfill(await fromPackage(address));
    strangers.push(address);
    return route.abort();
  });
  return strangers;
}

async function execute(page, operation, status) {
  const block = page.locator(`#operations-tasks-${operation}`);
  await block.locator(".opblock-summary-control").click();
  await block.getByRole("button", { name: "Execute" }).click();
  const answer = block.locator(".live-responses-table .response").first();
  await answer.locator(".response-col_status", { hasText: status }).waitFor();
  return JSON.parse(await answer.locator(".microlight").first().textContent());
}

async function tryOut(page, step) {
  step("authorize");
  await page.getByRole("button", { name: "Authorize" }).click();
  const dialog = page.locator(".modal-ux");
  await dialog.getByRole("textbox").fill(TOKEN);
  await dialog.getByRole("button", { name: "Apply credentials" }).click();
  await dialog.getByRole("button", { name: "Close", exact: true }).click();

  step("GET /api/tasks");
  assert.deepEqual(await execute(page, "list_tasks", "200"), []);

  step("POST /api/tasks");
  const task = await execute(page, "create_task", "201");
  assert.equal(task.title, "Buy milk");
  await screenshot(page, "docs");

  step("GET /api/tasks again");
  await page.locator("#operations-tasks-list_tasks").getByRole("button", { name: "Clear" }).click();
  await page.locator("#operations-tasks-list_tasks .opblock-summary-control").click();
  assert.deepEqual(await execute(page, "list_tasks", "200"), [task]);
  assert.deepEqual(page.complaints, []);
}

async function showsItsText(page) {
  await page.getByText("The viewer is not loaded.").waitFor();
  await page.getByRole("link", { name: "openapi.json" }).waitFor();
  await page.waitForFunction("performance.getEntriesByName('first-contentful-paint').length > 0");
}

async function staysWithItsText(page, step) {
  step("the changed script is refused");
  await showsItsText(page);
  assert.equal(await page.evaluate("typeof SwaggerUIBundle"), "undefined");
  // The console hears of it later than the page does.
  while (!page.complaints.some((text) => text.includes("'integrity' attribute"))) await page.waitForEvent("console");
}

await story(async ({ open, step }) => {
  const page = await open();
  const strangers = await isolate(page);
  step("open /docs");
  await page.goto(`${API}/docs`, { waitUntil: "commit" });
  await { good: tryOut, tampered: staysWithItsText, silent: showsItsText }[CDN_STATE](page, step);
  assert.deepEqual(strangers, []);
});
