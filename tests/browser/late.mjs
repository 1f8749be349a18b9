// What the example app makes of answers that come late, when more has been done meanwhile, here or in another tab.
import assert from "node:assert/strict";
import {
  alerted, button, call, checkbox, comeBack, hasFocus, newTask, said, sees, sort, waits,
} from "./person.mjs";
import { eventually } from "./story.mjs";

const { API, APP } = process.env;
const CORS = { "Access-Control-Allow-Origin": APP, "Access-Control-Expose-Headers": "Retry-After" };
const REFUSED = { status: 400, headers: CORS, json: { detail: "Refused." } };
const CHANGES = "/api/changes";

/** Hold back the answer to the next such request, be it the API's or this one, until `release()`. */
export async function hold(page, method, part, answer) {
  let release, isAsked;
  const held = new Promise((resolve) => (release = resolve));
  const asked = new Promise((resolve) => (isAsked = resolve));
  let isOver = false;
  await page.route(`${API}/**`, async (route) => {
    const request = route.request();
    if (isOver || request.method() !== method || !request.url().includes(part)) return route.fallback();
    isOver = true;
    const given = answer ?? { response: await route.fetch() };
    isAsked();
    await held;
    // The page may have given it up by now.
    await route.fulfill(given).catch(() => {});
  });
  return { asked, release };
}

const form = (page, title) => page.getByRole("form", { name: `Edit ${title}` });

/** On the page of somebody with the tasks 1 to 60, all of them pending. */
export async function bearsLateAnswers(page, step) {
  const numbers = Array.from({ length: 60 }, (_, index) => `Task ${60 - index}`);

  step("a change while changes are fetched");
  await page.reload();
  await sees(page, numbers.slice(0, 50));
  const look = await hold(page, "GET", CHANGES);
  await comeBack(page);
  await look.asked;
  await checkbox(page, "Task 30").click();
  await said(page, "“Task 30” is completed.");
  look.release();
  await page.locator("li.completed").filter({ has: checkbox(page, "Task 30") }).waitFor();

  step("a task that another tab renames moves to its place");
  await sort(page, "Title");
  await checkbox(page, "Task 1").waitFor();
  const [, all] = await call(page, "GET", "/api/tasks");
  const moved = all.find(({ title }) => title === "Task 31");
  await call(page, "PUT", `/api/tasks/${moved.id}`, { title: "Zoo" });
  await button(page, "Load more").click();
  await sees(page, [...numbers.filter((title) => title !== "Task 31").toSorted(), "Zoo"]);

  step("the question before a deletion stays modal when the list changes its order");
  await button(page, "Delete Task 60").click();
  await call(page, "PUT", `/api/tasks/${moved.id}`, { title: "And first" });
  await eventually(() => page.locator("main li label").first().innerText(), "And first");
  await page.locator("dialog:modal").waitFor();
  await page.keyboard.press("Escape");

  step("what is open on a task stays open while its adding is answered");
  const post = await hold(page, "POST", "/api/tasks");
  await newTask(page).getByLabel("Title").fill("Late");
  await page.keyboard.press("Enter");
  await post.asked;
  await button(page, "Edit Late").click();
  await form(page, "Late").getByLabel("Title").fill("Later");
  post.release();
  await said(page, "Added “Late”.");
  await page.keyboard.press("Enter");
  await said(page, "Saved “Later”.");
  await hasFocus(button(page, "Edit Later"));
}

export async function keepsWhatIsTyped(page, step) {
  step("what is typed while a task is added");
  const title = newTask(page).getByLabel("Title");
  const post = await hold(page, "POST", "/api/tasks");
  await title.fill("One");
  await title.press("Enter");
  await post.asked;
  await title.fill("Two");
  post.release();
  await said(page, "Added “One”.");
  assert.equal(await title.inputValue(), "Two");

  step("the focus stays where it went while a task is added");
  const second = await hold(page, "POST", "/api/tasks");
  await button(page, "Add task").click();
  await second.asked;
  await page.getByLabel("Sort by").focus();
  second.release();
  await eventually(() => title.inputValue(), "");
  await hasFocus(page.getByLabel("Sort by"));

  step("what another tab has changed meanwhile");
  const [, [task]] = await call(page, "GET", "/api/tasks");
  await button(page, "Edit Two").click();
  await call(page, "PUT", `/api/tasks/${task.id}`, { description: "from another tab" });
  await form(page, "Two").getByLabel("Title").fill("Three");
  await button(form(page, "Two"), "Save").click();
  await said(page, "Saved “Three”.");
  await page.getByRole("listitem").filter({ hasText: "from another tab" }).waitFor();

  step("a save that is refused after the form was opened and closed again");
  const put = await hold(page, "PUT", `/${task.id}`, REFUSED);
  await button(page, "Edit Three").click();
  await form(page, "Three").getByLabel("Title").fill("Much text");
  await page.keyboard.press("Enter");
  await put.asked;
  await button(page, "Edit Much text").click();
  await page.keyboard.press("Escape");
  put.release();
  await form(page, "Three").getByText("Refused.").waitFor();
  assert.equal(await form(page, "Three").getByLabel("Title").inputValue(), "Much text");
  await hasFocus(form(page, "Three").getByLabel("Title"));
  await page.keyboard.press("Escape");

  step("a success does not hide a failure");
  (await hold(page, "PUT", `/${task.id}`, REFUSED)).release();
  await checkbox(page, "Three").click();
  await alerted(page, "“Three” was not changed. Refused.");
  await checkbox(page, "One").click();
  await said(page, "“One” is completed.");
  await alerted(page, "“Three” was not changed. Refused.");

  step("an API that asks to come back much later is asked when somebody looks");
  const away = { status: 503, headers: { ...CORS, "Retry-After": "3600" }, json: { detail: "Away." } };
  (await hold(page, "GET", CHANGES, away)).release();
  await page.reload();
  await checkbox(page, "One").waitFor();
  await waits(page, "offline");
  await page.getByText("Away.").waitFor();
  await comeBack(page);
  await waits(page, "");
}
