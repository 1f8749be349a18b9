// What the example app makes of answers that come late, when more has been done meanwhile, here or in another tab.
import assert from "node:assert/strict";
import {
  add, alerted, button, call, checkbox, hasFocus, heading, later, newTask, said, sees, show, sort,
} from "./person.mjs";
import { eventually } from "./story.mjs";

const { API, APP } = process.env;
const CORS = { "Access-Control-Allow-Origin": APP, "Access-Control-Expose-Headers": "Retry-After" };
const BROKEN = { status: 500, headers: CORS, json: { detail: "Broken." } };

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

  step("a change while another order is fetched for the first time");
  await page.reload();
  await sees(page, numbers.slice(0, 50));
  const byTitle = await hold(page, "GET", "sort=title");
  await sort(page, "Title");
  await byTitle.asked;
  await checkbox(page, "Task 30").click();
  await said(page, "“Task 30” is completed.");
  byTitle.release();
  await page.locator("ul:not(.outdated) > li.completed").filter({ has: checkbox(page, "Task 30") }).waitFor();

  step("no tasks is not said of tasks that are on their way");
  await checkbox(page, "Task 30").click();
  await said(page, "“Task 30” is pending.");
  await show(page, "Completed");
  await heading(page, "Nothing completed yet").waitFor();
  const pending = await hold(page, "GET", "status=pending");
  await show(page, "Pending");
  await page.getByText("Loading your tasks…").waitFor({ state: "attached" });
  assert.equal(await page.locator(".empty").count(), 0);
  pending.release();
  await checkbox(page, "Task 30").waitFor();

  step("more is asked for while the list is fetched again");
  await page.goto(APP);
  await sees(page, numbers.slice(0, 50));
  const again = await hold(page, "GET", "/api/tasks?");
  await add(page, { title: "Late" });
  await again.asked;
  await button(page, "Load more").click();
  again.release();
  await sees(page, ["Late", ...numbers]);

  step("a change while more is fetched, and the focus stays where it went");
  await page.reload();
  await sees(page, ["Late", ...numbers.slice(0, 49)]);
  const more = await hold(page, "GET", "cursor=");
  await button(page, "Load more").click();
  await more.asked;
  await checkbox(page, "Late").click();
  await said(page, "“Late” is completed.");
  more.release();
  await sees(page, ["Late", ...numbers]);
  await hasFocus(checkbox(page, "Late"));

  step("a task that another tab moves to the next page is there once");
  await page.goto(`${APP}/?sort=title`);
  await eventually(() => page.locator("main li label").count(), 50);
  const [, all] = await call(page, "GET", "/api/tasks");
  const moved = all.find(({ title }) => title === "Task 30");
  await call(page, "PUT", `/api/tasks/${moved.id}`, { title: "Zoo" });
  await button(page, "Load more").click();
  await checkbox(page, "Zoo").waitFor();
  await sees(page, ["Late", ...numbers.filter((title) => title !== "Task 30").toSorted(), "Zoo"]);

  step("the question before a deletion stays modal when the list changes its order");
  await button(page, "Delete Late").click();
  await call(page, "PUT", `/api/tasks/${moved.id}`, { title: "And first" });
  await later(page, 0.01);
  await page.evaluate(() => window.dispatchEvent(new Event("visibilitychange")));
  await eventually(() => page.locator("main li label").first().innerText(), "And first");
  await page.locator("dialog:modal").waitFor();
  await page.keyboard.press("Escape");
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
  const put = await hold(page, "PUT", `/${task.id}`, BROKEN);
  await button(page, "Edit Three").click();
  await form(page, "Three").getByLabel("Title").fill("Much text");
  await page.keyboard.press("Enter");
  await put.asked;
  await button(page, "Edit Much text").click();
  await page.keyboard.press("Escape");
  put.release();
  await form(page, "Three").getByText("Broken.").waitFor();
  assert.equal(await form(page, "Three").getByLabel("Title").inputValue(), "Much text");
  await hasFocus(form(page, "Three").getByLabel("Title"));
  await page.keyboard.press("Escape");

  step("a success does not hide a failure");
  (await hold(page, "PUT", `/${task.id}`, BROKEN)).release();
  await checkbox(page, "Three").click();
  await alerted(page, "“Three” was not changed. Broken.");
  await checkbox(page, "One").click();
  await said(page, "“One” is completed.");
  await alerted(page, "“Three” was not changed. Broken.");

  step("an API that asks to come back much later");
  const away = { status: 503, headers: { ...CORS, "Retry-After": "3600" }, json: { detail: "Away." } };
  (await hold(page, "GET", "/api/tasks", away)).release();
  await page.reload();
  await alerted(page, "Your tasks could not be loaded. Away.");
  await button(page, "Try again").click();
  await checkbox(page, "One").waitFor();
}
