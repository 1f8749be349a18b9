// The example without a network, in a browser that is closed and opened again, and with another device meanwhile.
import assert from "node:assert/strict";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { ARGUMENTS } from "./browsers.mjs";
import { createNetwork } from "./network.mjs";
import {
  add, alerted, button, call, checkbox, comeBack, edit, heading, inspect, newTask, remove, said, sees, signIn, signOut,
  signUp, task, waits,
} from "./person.mjs";
import { hold } from "./late.mjs";
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

const isKept = async () => Boolean(navigator.serviceWorker.controller && (await caches.match("/", { cacheName: "pages" })));
const readyForOffline = (page) => eventually(() => page.evaluate(isKept), true);

const toggle = async (page, title, state) => {
  await checkbox(page, title).click();
  await said(page, `“${title}” is ${state}.`);
};

const save = async (page, title, changes) => {
  await button(await edit(page, title, changes), "Save").click();
  await said(page, `Saved “${changes.title}”.`);
};

const titles = async (page) => (await call(page, "GET", "/api/tasks"))[1].map(({ title }) => title);
const writes = () => network.answers.filter(({ method }) => !["GET", "OPTIONS"].includes(method));
const question = (page, text) => page.locator(".question").filter({ hasText: text });

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

async function asksAboutConflicts(ours, theirs, step) {
  const both = (title) => Promise.all([checkbox(ours.page, title).waitFor(), checkbox(theirs.page, title).waitFor()]);

  step("the same field on two devices: asked about, with both versions, also after a reload");
  await both("Frozen");
  await ours.context.setOffline(true);
  await save(theirs.page, "Frozen", { title: "Their title" });
  await save(ours.page, "Frozen", { title: "Our title", description: "ours" });
  await toggle(ours.page, "Our title", "completed");
  await ours.context.setOffline(false);
  await question(ours.page, "was changed on another device as well").waitFor();
  await waits(ours.page, "");
  await ours.page.reload();
  const asked = question(ours.page, "“Frozen” was changed on another device as well. Which one is to stay?");
  await asked.locator(".version", { hasText: "Yours" }).getByText("Our title").waitFor();
  await asked.locator(".version", { hasText: "Yours" }).getByText("Completed").waitFor();
  await asked.locator(".version", { hasText: "Theirs" }).getByText("Their title").waitFor();
  await inspect(ours.page, "conflict");
  await button(asked, "Keep mine").click();
  await both("Our title");
  await task(theirs.page, "Our title").getByText("ours").waitFor();
  assert.ok(await checkbox(theirs.page, "Our title").isChecked());

  step("theirs is taken");
  await ours.context.setOffline(true);
  await toggle(theirs.page, "Our title", "pending");
  await remove(ours.page, "Our title");
  await ours.context.setOffline(false);
  const deleted = question(ours.page, "was changed on another device");
  await deleted.getByText("Deleted", { exact: true }).waitFor();
  await button(deleted, "Take theirs").click();
  await both("Our title");

  step("different fields are no conflict");
  await ours.context.setOffline(true);
  await save(theirs.page, "Our title", { title: "Their title", description: "ours" });
  await toggle(ours.page, "Our title", "completed");
  await ours.context.setOffline(false);
  await both("Their title");
  await eventually(() => checkbox(theirs.page, "Their title").isChecked(), true);
  assert.equal(await ours.page.locator(".question").count(), 0);

  step("an edit that was begun before another device's, and is saved after one's own change was sent");
  await ours.context.setOffline(true);
  await toggle(ours.page, "Their title", "pending");
  const open = await edit(ours.page, "Their title", { title: "Begun" });
  await save(theirs.page, "Their title", { title: "Meanwhile" });
  await ours.context.setOffline(false);
  await waits(ours.page, "");
  await button(open, "Save").click();
  const begun = question(ours.page, "was changed on another device as well");
  await begun.locator(".version", { hasText: "Theirs" }).getByText("Meanwhile").waitFor();
  await button(begun, "Take theirs").click();

  step("two questions: what is clicked twice answers the first one only, and once");
  await both("Meanwhile");
  await add(ours.page, { title: "Second" });
  await both("Second");
  await ours.context.setOffline(true);
  for (const title of ["Meanwhile", "Second"]) {
    await save(theirs.page, title, { title: `Their ${title}`, description: "theirs" });
    await save(ours.page, title, { title: `Our ${title}` });
  }
  await ours.context.setOffline(false);
  await eventually(() => ours.page.locator(".question").count(), 2);
  const first = ours.page.getByRole("region", { name: "“Meanwhile” was changed on another device as well." });
  // What "Keep mine" gives.
  await first.locator(".version", { hasText: "Yours" }).getByText("theirs").waitFor();
  const { x, y } = await button(first, "Keep mine").boundingBox();
  for (let clicks = 0; clicks < 2; clicks += 1) await ours.page.mouse.click(x + 9, y + 9, { delay: 50 });
  await both("Our Meanwhile");
  assert.equal(await ours.page.locator(".question").count(), 1);
  await button(question(ours.page, "“Second”"), "Take theirs").click();
  await both("Their Second");
  await remove(ours.page, "Their Second");
  await save(ours.page, "Our Meanwhile", { title: "Their title" });
  await both("Their title");

  step("deleted on the other device");
  await ours.context.setOffline(true);
  await remove(theirs.page, "Their title");
  await save(ours.page, "Their title", { title: "Wanted" });
  await ours.context.setOffline(false);
  await button(question(ours.page, "“Their title” was deleted on another device"), "Keep mine").dblclick();
  await both("Wanted");
  assert.equal((await titles(ours.page)).filter((title) => title === "Wanted").length, 1);

  step("refused when it is sent");
  await ours.context.setOffline(true);
  await add(ours.page, { title: "W".repeat(201) });
  await ours.context.setOffline(false);
  const refused = question(ours.page, "was refused");
  await refused.getByText("W".repeat(201)).first().waitFor();
  await button(refused, "Drop it").click();
  await eventually(() => ours.page.locator(".question").count(), 0);

  step("an edit of a task whose adding is refused then");
  const refusal = { status: 403, headers: { "Access-Control-Allow-Origin": APP }, json: { detail: "Too many." } };
  const post = await hold(ours.page, "POST", "/api/tasks", refusal);
  await newTask(ours.page).getByLabel("Title").fill("Too much");
  await ours.page.keyboard.press("Enter");
  await post.asked;
  await button(await edit(ours.page, "Too much", { title: "Edited" }), "Save").click();
  post.release();
  const unmade = question(ours.page, "was refused. Too many.");
  await unmade.locator(".version").getByText("Edited").waitFor();
  await button(unmade, "Drop it").click();
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

async function forgets(ours, step) {
  const { context, page } = ours;
  const kept = () =>
    page.evaluate(
      () =>
        new Promise((resolve) => {
          const opening = indexedDB.open("todo");
          opening.onsuccess = () => {
            const request = opening.result.transaction("kept").objectStore("kept").getAllKeys();
            request.onsuccess = () => resolve(request.result.length);
          };
        }),
    );

  step("a session that has ended keeps what waits for the same person");
  await add(page, { title: "Last" });
  network.cuts.set("all", "gone");
  await toggle(page, "Last", "completed");
  await waits(page, "offline, 1 change waiting");
  await context.clearCookies();
  await page.reload();
  await heading(page, "Welcome back").waitFor();
  assert.equal(await page.evaluate(() => caches.has("pages")), false);
  await signIn(page, "Ada");
  await waits(page, "offline, 1 change waiting");
  network.cuts.clear();
  await comeBack(page);
  await waits(page, "");

  step("what waits in another tab is asked about at sign-out, and is taken over when that is closed");
  const tab = await context.newPage();
  await tab.goto(APP);
  await checkbox(tab, "Last").waitFor();
  network.cuts.set("all", "gone");
  await add(tab, { title: "From the tab" });
  await waits(tab, "offline, 1 change waiting");
  const confirmation = page.getByRole("dialog", { name: "Sign out, and lose what is waiting?" });
  await button(page, "Sign out").click();
  await button(confirmation, "Stay").click();
  await tab.close();
  await waits(page, "offline, 1 change waiting");
  await toggle(page, "Last", "pending");
  await page.reload();
  await waits(page, "offline, 2 changes waiting");
  await checkbox(page, "From the tab").waitFor();
  network.cuts.clear();
  await comeBack(page);
  await waits(page, "");

  step("signing out asks about what waits, and clears what is kept, in every tab");
  const other = await context.newPage();
  await other.goto(APP);
  await checkbox(other, "Last").waitFor();
  await readyForOffline(page);
  network.cuts.set("all", "gone");
  await newTask(page).getByLabel("Title").fill("Never sent");
  await page.keyboard.press("Enter");
  await waits(page, "offline, 1 change waiting");
  await button(page, "Sign out").click();
  await inspect(page, "sign-out");
  await button(confirmation, "Sign out and lose them").click();
  await heading(page, "Welcome back").waitFor();
  await heading(other, "Welcome back").waitFor();
  await other.close();
  await eventually(kept, 0);
  assert.equal(await page.evaluate(() => caches.has("pages")), false);

  step("nothing of it is shown without a network, nor to the next person");
  await control("stop-app-it");
  await page.goto(APP).catch(() => {});
  await page.getByText("ERR_FAILED").waitFor();
  assert.ok(!(await page.content()).includes("Last"));
  await control("start-app-it");
  network.cuts.clear();
  await page.goto(APP);
  await signUp(page, "Bob");
  await heading(page, "Nothing to do yet").waitFor();
  assert.ok(!(await page.content()).includes("Last"));
  await waits(page, "");

  step("a sign-out whose answer is lost");
  await add(page, { title: "Bob's" });
  await page.route(`${APP}/api/auth/sign-out`, (route) => route.fetch().then(() => route.abort()));
  await button(page, "Sign out").click();
  await alerted(page, "You could not be signed out.");
  await page.goto(APP);
  await heading(page, "Welcome back").waitFor();
  await eventually(kept, 0);

  step("signing out where storage is forbidden");
  await page.addInitScript(() => {
    IDBFactory.prototype.open = () => {
      throw new DOMException("Forbidden.", "SecurityError");
    };
  });
  await page.unrouteAll();
  await page.reload();
  await signIn(page, "Bob");
  await add(page, { title: "Not kept" });
  await signOut(page);
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
    await forgets(ours, step);
  } catch (error) {
    for (const page of opened) console.log(await page.locator("body").innerText({ timeout: 1000 }).catch(String));
    throw error;
  } finally {
    await Promise.all(opened.map((page) => page.context().close()));
    network.close();
  }
});
