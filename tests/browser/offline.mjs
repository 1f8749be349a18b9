// The example without a network, in a browser that is closed and opened again, and with another device meanwhile.
import assert from "node:assert/strict";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { ARGUMENTS } from "./browsers.mjs";
import { asksAboutConflicts } from "./conflicts.mjs";
import { forgets } from "./leaving.mjs";
import { createNetwork } from "./network.mjs";
import {
  add, call, checkbox, comeBack, inspect, readyForOffline, remove, save, sees, signIn, signUp, titles, toggle, waits,
} from "./person.mjs";
import { control, eventually, story } from "./story.mjs";

const { APP, PROGRAM, HOME, PORT, UPSTREAM } = process.env;

const network = await createNetwork(UPSTREAM, Number(PORT), APP);

const opened = [];

/** What is on this computer: closing it ends the browser, opening it again finds what was kept. */
async function openBrowser(folder = "profile") {
  const options = { executablePath: PROGRAM, args: ARGUMENTS, userAgent: folder };
  const context = await chromium.launchPersistentContext(join(HOME, folder), options);
  const page = context.pages()[0] ?? (await context.newPage());
  opened.push(page);
  return { context, page };
}

const writes = () => network.answers.filter(({ method }) => !["GET", "OPTIONS"].includes(method));

async function isInstallable({ context, page }, step) {
  step("it can be installed");
  await readyForOffline(page);
  const session = await context.newCDPSession(page);
  assert.deepEqual((await session.send("Page.getInstallabilityErrors")).installabilityErrors, []);
  assert.deepEqual((await session.send("Page.getAppManifest")).errors, []);
}

async function keepsWhatIsDone(browser, step) {
  let { page } = browser;
  for (const title of ["Tea", "Bread", "Milk"]) await add(page, { title });

  step("without any server: add, edit, toggle, delete");
  await control("stop-it");
  await control("stop-app-it");
  await add(page, { title: "Offline", description: "kept", due: "2099-12-24" });
  await save(page, "Milk", { title: "Oat milk" });
  await toggle(page, "Bread", "completed");
  await remove(page, "Tea");
  await toggle(page, "Offline", "completed");
  const expected = ["Offline", "Oat milk", "Bread"];
  await sees(page, expected);
  await waits(page, "offline, 5 changes waiting");
  await inspect(page, "offline");

  step("after a reload");
  await page.reload();
  await sees(page, expected);
  await waits(page, "offline, 5 changes waiting");

  step("after a restart of the browser, with a filter in the address");
  await browser.context.close();
  browser = await openBrowser();
  page = browser.page;
  await page.goto(`${APP}/?status=completed`);
  await sees(page, ["Offline", "Bread"]);
  await page.goto(APP);
  await sees(page, expected);
  await waits(page, "offline, 5 changes waiting");

  step("sent once and in order when the servers are there again");
  network.answers.length = 0;
  await control("start-app-it");
  await control("start-it");
  await waits(page, "");
  await eventually(
    () => writes().map(({ method, status }) => `${method} ${status}`),
    ["POST 201", "PUT 200", "PUT 200", "DELETE 204", "PUT 200"],
  );
  const [, [offline, ...rest]] = await call(page, "GET", "/api/tasks");
  assert.deepEqual([offline.title, offline.description, offline.due_date, offline.completed], ["Offline", "kept", "2099-12-24", true]);
  assert.deepEqual(rest.map(({ title, completed }) => [title, completed]), [["Oat milk", false], ["Bread", true]]);
  return browser;
}

async function sendsOnce({ page }, step) {
  step("an answer that is lost after the write");
  network.answers.length = 0;
  network.cuts.set("all", "lost");
  await add(page, { title: "Once" });
  await eventually(() => network.answers.some(({ method }) => method === "POST"), true);
  await comeBack(page);
  await sees(page, ["Once", "Offline", "Oat milk", "Bread"]);
  await save(page, "Once", { title: "Only once" });
  await waits(page, "2 changes waiting");
  network.cuts.clear();
  await waits(page, "");
  assert.deepEqual((await titles(page)).filter((title) => /once/i.test(title)), ["Only once"]);
  assert.ok(writes().some(({ isReplay }) => isReplay));

  step("an API that takes the change and never answers");
  await control("freeze-it");
  await add(page, { title: "Frozen" });
  await waits(page, "offline, 1 change waiting");
  await control("thaw-it");
  await waits(page, "");
  assert.deepEqual((await titles(page)).filter((title) => title === "Frozen"), ["Frozen"]);

  step("a proxy without a server, with and without the headers of CORS");
  for (const cut of ["unavailable", "bare"]) {
    network.cuts.set("all", cut);
    await toggle(page, "Frozen", cut === "bare" ? "pending" : "completed");
    await waits(page, "offline, 1 change waiting");
    network.cuts.clear();
    await waits(page, "");
  }

  step("a proxy that finds nothing, while the API can be read");
  network.cuts.set("all", "missing");
  await toggle(page, "Frozen", "completed");
  await waits(page, "1 change waiting");
  await page.getByText("The server answered with an error (404).").waitFor();
  network.cuts.clear();
  await waits(page, "");
  assert.ok(await checkbox(page, "Frozen").isChecked());
  await toggle(page, "Frozen", "pending");
}

const LOG_IN_FIRST = { contentType: "text/html", body: "<html>Log in to the hotel's Wi-Fi</html>" };

async function bearsWhatIsNotOurs({ page }, step) {
  step("a network that answers everything with a page of its own");
  await page.route(`${APP}/api/auth/**`, (route) => route.fulfill(LOG_IN_FIRST));
  const answer = (route) => (route.request().isNavigationRequest() ? route.fallback() : route.fulfill(LOG_IN_FIRST));
  await page.route(`${APP}/`, answer);
  await page.reload();
  await add(page, { title: "At the hotel" });
  await waits(page, "offline, 1 change waiting");
  await eventually(() => page.evaluate(async () => (await (await caches.match("/")).text()).includes("Wi-Fi")), false);
  await page.unrouteAll({ behavior: "wait" });
  await comeBack(page);
  await waits(page, "");
  assert.equal(await page.locator(".question").count(), 0);

  step("a disk that is full");
  await page.evaluate(() => {
    IDBObjectStore.prototype.put = () => {
      throw new DOMException("The quota has been exceeded.", "QuotaExceededError");
    };
  });
  network.cuts.set("all", "gone");
  await add(page, { title: "Not kept" });
  await waits(page, "offline, 1 change waiting");
  await page.getByText("This device cannot keep changes.").waitFor();
  await inspect(page, "full");
  network.cuts.clear();
  await comeBack(page);
  await waits(page, "");
  await page.reload();
  const added = ["Not kept", "At the hotel"];
  assert.deepEqual((await titles(page)).slice(0, 2), added);
  for (const title of added) await remove(page, title);
}

async function isCheap(ours, theirs, step) {
  step("what another device does is seen, for fewer bytes than the list");
  for (let number = (await titles(ours.page)).length; number < 100; number += 1)
    await call(ours.page, "POST", "/api/tasks", { title: `Task ${number} of a hundred` });
  await call(ours.page, "GET", "/api/tasks");
  await checkbox(theirs.page, "Task 99 of a hundred").waitFor();
  const last = (path) => network.answers.findLast((answer) => answer.method === "GET" && answer.path.startsWith(path) && answer.status === 200);
  const list = last("/api/tasks").bytes;
  await eventually(() => last("/api/changes?since=").bytes < 2000, true);
  const none = last("/api/changes?since=").bytes;
  const begun = Date.now();
  await add(ours.page, { title: "Seen" });
  await checkbox(theirs.page, "Seen").waitFor();
  console.log(`Bytes: ${none} for no changes, ${list} for the list of 100. Seen after ${Date.now() - begun} ms.`);
  assert.ok(none * 10 < list, `${none} of ${list} bytes`);
}

await story(async ({ step }) => {
  try {
    step("sign up");
    let ours = await openBrowser();
    await ours.page.goto(APP);
    await signUp(ours.page, "Ada");
    await isInstallable(ours, step);
    ours = await keepsWhatIsDone(ours, step);
    await sendsOnce(ours, step);
    await bearsWhatIsNotOurs(ours, step);
    const theirs = await openBrowser("another");
    await theirs.page.goto(APP);
    await signIn(theirs.page, "Ada");
    await asksAboutConflicts(ours, theirs, step);
    await isCheap(ours, theirs, step);
    await theirs.context.close();
    await forgets(ours, network, step);
  } catch (error) {
    for (const page of opened) console.log(await page.locator("body").innerText({ timeout: 1000 }).catch(String));
    throw error;
  } finally {
    await Promise.all(opened.map((page) => page.context().close()));
    network.close();
  }
});
