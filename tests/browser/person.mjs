// What a person does in the example app, and sees there.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { eventually, screenshot } from "./story.mjs";

const { API } = process.env;
const AXE = await readFile(new URL(import.meta.resolve("axe-core/axe.min.js")), "utf8");

export const heading = (page, name) => page.getByRole("heading", { name, exact: true });
export const button = (page, name) => page.getByRole("button", { name, exact: true });

const PASSWORD = "correct horse battery staple";

// Before React has taken the page over, a button sends its form in the browser's own way.
const isReady = (page) =>
  page.waitForFunction(() => Object.keys(document.querySelector("form")).some((key) => key.startsWith("__reactProps")));

export async function signUp(page, name) {
  await page.getByRole("link", { name: "Create an account" }).click();
  await heading(page, "Create an account").waitFor();
  await isReady(page);
  await page.getByLabel("Name").fill(name);
  await fillCredentials(page, name, PASSWORD);
  await button(page, "Sign up").click();
  await heading(page, "Your tasks").waitFor();
}

export async function signIn(page, name, password = PASSWORD) {
  await isReady(page);
  await fillCredentials(page, name, password);
  await button(page, "Sign in").click();
}

async function fillCredentials(page, name, password) {
  await page.getByLabel("Email").fill(`${name.toLowerCase()}@example.com`);
  await page.getByLabel("Password").fill(password);
}

export async function signOut(page) {
  await button(page, "Sign out").click();
  await heading(page, "Welcome back").waitFor();
}

export const newTask = (page) => page.getByRole("form", { name: "Add a task" });

export async function add(page, { title, ...details }) {
  const form = newTask(page);
  await form.getByLabel("Title").fill(title);
  if (details.description || details.due) {
    const description = form.getByLabel("Description");
    if (!(await description.isVisible())) await form.getByText("Description and due date").click();
    await fillDetails(form, details);
  }
  await button(form, "Add task").click();
  await said(page, `Added “${title}”.`);
}

async function fillDetails(form, { description = "", due = "" }) {
  await form.getByLabel("Description").fill(description);
  await form.getByLabel("Due date").fill(due);
}

export async function edit(page, title, { title: changed, ...details }) {
  await button(page, `Edit ${title}`).click();
  const form = page.getByRole("form", { name: `Edit ${title}` });
  await form.getByLabel("Title").fill(changed);
  await fillDetails(form, details);
  return form;
}

export async function remove(page, title) {
  await button(page, `Delete ${title}`).click();
  await button(page.getByRole("dialog", { name: `Delete “${title}”?` }), "Delete").click();
  await said(page, `Deleted “${title}”.`);
}

export const checkbox = (page, title) => page.getByRole("checkbox", { name: title, exact: true });

export const task = (page, title) => page.getByRole("listitem").filter({ has: checkbox(page, title) });

/** The titles, from top to bottom. */
export const sees = (page, titles) => eventually(() => page.locator("main li label").allInnerTexts(), titles);

export const said = (page, text) => page.getByRole("status").filter({ hasText: text }).waitFor({ state: "attached" });
export const alerted = (page, text) => page.getByRole("alert").filter({ hasText: text }).waitFor();
export const alerts = async (page) => (await page.getByRole("alert").allInnerTexts()).filter(Boolean);

/** The line that says whether the API is away, and how many changes wait for it; "" when all is well. */
export const waits = (page, text) => eventually(() => page.locator("main [role=status]").first().innerText(), text);

/** As somebody who has looked at another tab. */
export const comeBack = (page) => page.evaluate(() => void window.dispatchEvent(new Event("visibilitychange")));

export const show = (page, status) => page.getByRole("radio", { name: status }).check();
export const sort = (page, order) => page.getByLabel("Sort by").selectOption(order);

export const hasFocus = (control) => eventually(() => control.evaluate((element) => element === document.activeElement), true);

/** As if so many hours had passed. */
export const later = (page, hours) => page.clock.setSystemTime(Date.now() + hours * 3_600_000);

/** Press Tab until the control has the focus, as somebody without a mouse does. */
export async function tabTo(page, control) {
  for (let presses = 0; presses < 40; presses += 1) {
    if (await control.evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`Tab never reaches ${control}`);
}

/** Call the API from the page, with the token of whoever is signed in there. */
export const call = (page, method, path, body) =>
  page.evaluate(
    async ({ address, method, body }) => {
      const { token } = await (await fetch("/api/auth/token")).json();
      const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
      const answer = await fetch(address, { method, headers, body: body && JSON.stringify(body) });
      return [answer.status, await answer.json()];
    },
    { address: `${API}${path}`, method, body },
  );

/** A picture for a person to look at, and what the accessibility rules of axe have against the page. */
export async function inspect(page, name) {
  await screenshot(page, name);
  // Evaluated by the browser itself, where the page's policy does not reach.
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => axe.run());
  const found = violations.map(({ id, nodes }) => [id, ...nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`)]);
  assert.deepEqual(found, [], name);
}

/** As set in the browser's preferences; "" for what it was. */
export const textSize = (page, size) => page.evaluate((size) => void (document.documentElement.style.fontSize = size), size);

export async function fitsItsWidth(page) {
  const [needed, given] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  assert.ok(needed <= given, `${needed} pixels are needed, and ${given} are there`);
}

const isPageKept = async () => Boolean(navigator.serviceWorker.controller && (await caches.match("/", { cacheName: "pages" })));
/** The page can be opened without a network from now on. */
export const readyForOffline = (page) => eventually(() => page.evaluate(isPageKept), true);

export const toggle = async (page, title, state) => {
  await checkbox(page, title).click();
  await said(page, `“${title}” is ${state}.`);
};

export const save = async (page, title, changes) => {
  await button(await edit(page, title, changes), "Save").click();
  await said(page, `Saved “${changes.title}”.`);
};

/** Of all tasks that the API has. */
export const titles = async (page) => (await call(page, "GET", "/api/tasks"))[1].map(({ title }) => title);
export const question = (page, text) => page.locator(".question").filter({ hasText: text });
