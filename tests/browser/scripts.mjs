// Random scripts of two devices of one person over real cuts, from a seed: afterwards both devices and the database are
// equal, and every change is there once. SEED repeats a run, and SCRIPTS says which ones, as "1-50".
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { chromium } from "playwright-core";
import { ARGUMENTS } from "./browsers.mjs";
import { createNetwork } from "./network.mjs";
import { button, checkbox, comeBack, newTask, readyForOffline } from "./person.mjs";
import { control, eventually } from "./story.mjs";

const { PROGRAM, SEED, SCRIPTS } = process.env;
const WORLDS = JSON.parse(process.env.WORLDS);
const PASSWORD = "correct horse battery staple";
const STEPS = 9;
const CUTS = ["stop", "freeze", "unavailable", "bare", "lost", "offline"];
const ACKNOWLEDGED_MS = 30_000;

/** Numbers from 0 to below 1 that a seed determines (mulberry32). */
function randomFrom(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

class Device {
  constructor(name, context, app) {
    Object.assign(this, { name, context, app, own: [], isOffline: false });
  }

  async open() {
    this.page = await this.context.newPage();
    this.page.setDefaultTimeout(ACKNOWLEDGED_MS);
    await this.page.goto(this.app);
    await this.ready();
  }

  ready = () => this.page.locator(".tasks:not([aria-hidden]), .empty").waitFor();

  /** The page says so when a change is made, or waits and is kept; or it asks. */
  acknowledged = (text) =>
    this.page.locator(".question").or(this.page.getByRole("status").filter({ hasText: text })).first().waitFor({ state: "attached" });

  async add(title) {
    await newTask(this.page).getByLabel("Title").fill(title);
    await button(this.page, "Add task").click();
    await this.acknowledged(`Added “${title}”.`);
  }

  async edit(title, changed) {
    await button(this.page, `Edit ${title}`).click();
    // The other device may have given the task another title since, which is then the form's name.
    const form = this.page.getByRole("form", { name: /^Edit / });
    await form.getByLabel("Title").fill(changed);
    await button(form, "Save").click();
    await this.acknowledged(`Saved “${changed}”.`);
  }

  async toggle(title) {
    const box = checkbox(this.page, title);
    const isDone = await box.isChecked();
    await box.click();
    await this.acknowledged(`“${title}” is ${isDone ? "pending" : "completed"}.`);
    return !isDone;
  }

  async delete(title) {
    await button(this.page, `Delete ${title}`).click();
    await button(this.page.getByRole("dialog"), "Delete").click();
    await this.acknowledged(`Deleted “${title}”.`);
  }

  titles = () => this.page.locator("main li label").allInnerTexts();

  list = () =>
    this.page.locator("main li").evaluateAll((items) =>
      items.map((item) => [item.querySelector("label").innerText, item.querySelector("input").checked]),
    );

  async answer(random) {
    for (const question = this.page.locator(".question").first(); await question.count(); ) {
      const before = await this.page.locator(".question").count();
      await button(question, random() < 0.5 ? "Keep mine" : "Take theirs").click();
      await eventually(async () => (await this.page.locator(".question").count()) < before, true);
      // Nobody reads the next one sooner, and the page takes no click for an answer to it.
      await delay(500);
    }
  }
}

/** What a world's network can suffer; each gives how it is mended. */
async function cut(kind, world, device) {
  if (kind === "stop" || kind === "freeze") {
    await control(`${kind}-${world.name}`);
    return () => control(`${kind === "stop" ? "start" : "thaw"}-${world.name}`);
  }
  if (kind === "offline") {
    await device.context.setOffline(true);
    return () => device.context.setOffline(false);
  }
  const whom = kind === "lost" ? device.name : "all";
  world.network.cuts.set(whom, kind);
  return () => void world.network.cuts.delete(whom);
}

async function act(browser, world, seed, number) {
  const random = randomFrom(seed);
  const pick = (items) => items[Math.floor(random() * items.length)];
  const begun = Date.now();
  const log = { lines: [], push: (text) => log.lines.push(`${((Date.now() - begun) / 1000).toFixed(1)} ${text}`), join: (by) => log.lines.join(by) };
  const { app } = world;
  const email = `script-${seed}-${Date.now()}@example.com`;
  const contexts = await Promise.all(["one", "two"].map((name) => browser.newContext({ userAgent: name, locale: "en" })));
  const devices = contexts.map((context, index) => new Device(["one", "two"][index], context, app));
  let mend;
  try {
    const signUp = { data: { name: "Ada", email, password: PASSWORD }, headers: { Origin: app } };
    assert.ok((await contexts[0].request.post(`${app}/api/auth/sign-up/email`, signUp)).ok());
    await contexts[1].addCookies(await contexts[0].cookies());
    await devices[0].open();
    await devices[0].add("shared 1");
    await devices[0].add("shared 2");
    await devices[1].open();
    await Promise.all(devices.map((device) => readyForOffline(device.page)));
    await eventually(devices[1].titles, ["shared 2", "shared 1"]);

    log.push("begin");
    let count = 0;
    for (let step = 0; step < STEPS; step += 1) {
      const device = pick(devices);
      const isShared = random() < 0.3;
      if (!mend && step > 0 && random() < 0.7) {
        // Each kind of cut comes about equally often.
        const kind = CUTS[(number + step) % CUTS.length];
        log.push(`cut ${kind} ${device.name}`);
        mend = await cut(kind, world, device);
      } else if (mend && random() < 0.3) {
        log.push("mend");
        await mend();
        mend = undefined;
      }
      const title = isShared ? pick((await device.titles()).filter((text) => text.startsWith("shared"))) : pick(device.own)?.title;
      const what = title ? pick(["add", "edit", "edit", "toggle", "toggle", "delete", "reload", "reopen"]) : pick(["add", "add", "reload"]);
      log.push(`${device.name} ${what} ${title ?? ""}`);
      await make(device, what, title, isShared, () => `${isShared ? "shared" : device.name} ${(count += 1)} of ${number}`);
      await device.answer(random);
    }
    await mend?.();
    mend = undefined;
    log.push("settle");
    await settle(world, devices, email, random, number % 2 === 0);
    check(devices, await rowsOf(world, email));
  } catch (error) {
    const seen = await Promise.all(devices.map((device) => device.page?.locator("main").innerText().catch(String)));
    throw new Error(`Script ${number}, seed ${seed} (OFFLINE_SEED=${SEED} OFFLINE_SCRIPTS=${number}-${number})\n${log.join("\n")}\n${seen.join("\n---\n")}\n${error.stack}`);
  } finally {
    await mend?.();
    await Promise.all(contexts.map((context) => context.close()));
  }
}

async function make(device, what, title, isShared, newTitle) {
  const task = device.own.find((task) => task.title === title);
  if (what === "reload") {
    await device.page.reload();
    return device.ready();
  }
  if (what === "reopen") {
    await device.page.close();
    return device.open();
  }
  if (what === "add") {
    const added = { title: newTitle(), isDone: false };
    if (!isShared) device.own.push(added);
    return device.add(added.title);
  }
  if (what === "edit") {
    const changed = newTitle();
    if (task) task.title = changed;
    return device.edit(title, changed);
  }
  if (what === "toggle") {
    const isDone = await device.toggle(title);
    if (task) task.isDone = isDone;
    return;
  }
  device.own = device.own.filter((other) => other !== task);
  await device.delete(title);
}

async function rowsOf(world, email) {
  await control(`rows-${world.name}`);
  const rows = JSON.parse(await readFile(world.rows, "utf8"));
  return rows.filter(([owner]) => owner === email).map(([, title, completed]) => [title, Boolean(completed)]);
}

/** Until nothing waits (somebody may look at the pages, which asks the API at once), nothing is asked, and both show what the database has, in its order. */
async function settle(world, devices, email, random, isLookedAt) {
  for (const deadline = Date.now() + 60_000; ; await delay(200)) {
    for (const device of devices) {
      await device.answer(random);
      if (isLookedAt) await comeBack(device.page);
    }
    const lines = await Promise.all(devices.map(({ page }) => page.locator("main [role=status]").first().innerText()));
    const lists = await Promise.all(devices.map((device) => device.list()));
    const isQuiet = lines.every((line) => line === "") && JSON.stringify(lists[0]) === JSON.stringify(lists[1]);
    const rows = isQuiet || Date.now() > deadline ? await rowsOf(world, email) : undefined;
    if (rows && isQuiet && JSON.stringify(lists[0]) === JSON.stringify(rows)) return;
    if (Date.now() > deadline) assert.deepEqual({ lines, one: lists[0], two: lists[1] }, { lines: ["", ""], one: rows, two: rows });
  }
}

/** What a device alone has changed is as it left it, once, and was made in its order. */
function check(devices, rows) {
  for (const { own, name } of devices) {
    const expected = own.map(({ title, isDone }) => [title, isDone]).toReversed();
    assert.deepEqual(rows.filter(([title]) => title.startsWith(`${name} `)), expected, name);
  }
  const titles = rows.map(([title]) => title);
  assert.equal(new Set(titles).size, titles.length, "a change was made twice");
}

const seed = Number(SEED);
const [first, last] = SCRIPTS.split("-").map(Number);
const wanted = Array.from({ length: last - first + 1 }, (_, index) => first + index);
console.log(`SEED=${seed}, ${wanted.length} scripts in ${WORLDS.length} worlds`);
const browser = await chromium.launch({ executablePath: PROGRAM, args: ARGUMENTS });
const failures = [];
await Promise.all(
  WORLDS.map(async (world) => {
    world.network = await createNetwork(world.api, world.port, world.app);
    for (let number = wanted.shift(); number !== undefined; number = wanted.shift()) {
      const begun = Date.now();
      await act(browser, world, seed * 1000 + number, number).catch((error) => failures.push(error));
      console.log(`- script ${number}: ${((Date.now() - begun) / 1000).toFixed(1)} s`);
    }
    world.network.close();
  }),
);
await browser.close();
for (const { message } of failures) console.log(message);
if (failures.length) process.exitCode = 1;
else console.log("The end.");
