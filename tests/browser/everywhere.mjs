// The example app from one end to the other in any browser: with a real mouse and keyboard, by what a person reads. What only
// one browser has to show (late answers, outages, accessibility) is in example.mjs.
import assert from "node:assert/strict";
import { control, eventually, story } from "./story.mjs";

const { APP } = process.env;
const PASSWORD = "correct horse battery staple";
const KINDS = { button: "button", link: "a", checkbox: "[type=checkbox]", field: "input, textarea", disclosure: "summary" };

/** Run by the page: the middle of the one control of this kind and name, or why it cannot be clicked. */
const locate = ({ selector, name, within }) => {
  const nameOf = (element) => (element.ariaLabel ?? (element.labels?.[0] ?? element).innerText).trim();
  // A field's label may end with a hint.
  const isNamed = (element) => nameOf(element) === name || (element.matches("input, textarea") && nameOf(element).startsWith(`${name} `));
  const scope = within ? document.querySelector(`form[aria-label="${within}"]`) : document;
  const all = scope ? [...scope.querySelectorAll(selector)] : [];
  const found = all.filter((element) => isNamed(element) && element.getClientRects().length > 0);
  if (found.length !== 1) return `${found.length} of ${all.length} are named ${name}`;
  const [element] = found;
  element.scrollIntoView({ block: "center" });
  const { x, y, width, height } = element.getBoundingClientRect();
  const middle = { x: x + width / 2, y: y + height / 2 };
  const top = document.elementFromPoint(middle.x, middle.y);
  return element.contains(top) || [...(element.labels ?? [])].some((label) => label.contains(top)) ? middle : `${name} is covered`;
};

async function click(page, kind, name, within) {
  let found;
  await eventually(async () => {
    found = await page.evaluate(locate, { selector: KINDS[kind], name, within });
    return typeof found === "string" ? found : "found";
  }, "found");
  await page.mouse.click(found.x, found.y);
}

async function fill(page, name, text, within) {
  await click(page, "field", name, within);
  await page.keyboard.press("Control+a");
  await page.keyboard.type(text);
}

const text = (page) => page.evaluate(() => document.body.innerText);
const reads = (page, words) => eventually(async () => (await text(page)).includes(words), true);
// Nothing is found while one page gives way to the next.
const heading = (page, words) => eventually(() => page.evaluate(() => document.querySelector("h1")?.innerText).catch(() => {}), words);
/** The titles, from top to bottom, of all tasks or of those with a control like this. */
const sees = (page, titles, control = "*") => eventually(() => page.evaluate(titlesOf, control), titles);
const titlesOf = (control) =>
  [...document.querySelectorAll(`main li label:has(${control})`)].map(({ innerText }) => innerText.trim());

// Before React has taken the page over, a button sends its form in the browser's own way.
const isReady = (page) =>
  eventually(
    () => page.evaluate(() => Object.keys(document.querySelector("form") ?? {}).some((key) => key.startsWith("__reactProps"))),
    true,
  );

async function enter(page, name, button) {
  await isReady(page);
  if (button === "Sign up") await fill(page, "Name", name);
  await fill(page, "Email", `${name.toLowerCase()}@example.com`);
  await fill(page, "Password", PASSWORD);
  await click(page, "button", button);
  await heading(page, "Your tasks");
}

async function signUp(page, name) {
  await page.goto(APP);
  await heading(page, "Welcome back");
  await click(page, "link", "Create an account");
  await heading(page, "Create an account");
  await enter(page, name, "Sign up");
  await reads(page, "Nothing to do yet");
}

async function add(page, title) {
  await fill(page, "Title", title, "Add a task");
  await click(page, "button", "Add task");
  await reads(page, title);
}

await story(async ({ open, step }) => {
  step("sign up");
  const ada = await open();
  await signUp(ada, "Ada");

  step("add");
  await add(ada, "Buy milk");
  await click(ada, "disclosure", "Description and due date");
  await fill(ada, "Description", "The crusty one", "Add a task");
  await add(ada, "Bäcker 🥐");
  await sees(ada, ["Bäcker 🥐", "Buy milk"]);
  await reads(ada, "The crusty one");

  step("toggle");
  await click(ada, "checkbox", "Bäcker 🥐");
  await sees(ada, ["Bäcker 🥐"], ":checked");

  step("edit");
  await click(ada, "button", "Edit Buy milk");
  await fill(ada, "Title", "Buy oat milk", "Edit Buy milk");
  await click(ada, "button", "Save", "Edit Buy milk");
  await sees(ada, ["Bäcker 🥐", "Buy oat milk"]);

  step("restart the backend");
  await control("restart");
  await ada.reload();
  await sees(ada, ["Bäcker 🥐", "Buy oat milk"]);
  await sees(ada, ["Bäcker 🥐"], ":checked");

  step("somebody else sees none of it");
  const bob = await open();
  await signUp(bob, "Bob");
  await add(bob, "Call Ada");
  await sees(bob, ["Call Ada"]);

  step("delete");
  await click(bob, "button", "Delete Call Ada");
  await click(bob, "button", "Keep it");
  await click(bob, "button", "Delete Call Ada");
  await click(bob, "button", "Delete");
  await reads(bob, "Nothing to do yet");

  step("sign out, and in again");
  await click(ada, "button", "Sign out");
  await heading(ada, "Welcome back");
  assert.ok(!(await text(ada)).includes("oat milk"));
  await enter(ada, "Ada", "Sign in");
  await sees(ada, ["Bäcker 🥐", "Buy oat milk"]);

  step("no page has complained");
  assert.deepEqual([...ada.complaints, ...bob.complaints], []);
});
