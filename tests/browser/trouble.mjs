// What the example app makes of refused tokens, of a backend that is away, and of slow and refused changes.
import assert from "node:assert/strict";
import {
  alerted, alerts, button, checkbox, hasFocus, heading, inspect, later, newTask, said, sees, show, signIn,
  signOut, signUp,
} from "./person.mjs";
import { hold } from "./late.mjs";
import { control, eventually } from "./story.mjs";

const { APP } = process.env;
const TOKEN = "/api/auth/token";
const TASKS = "/api/tasks";

/** The API is down, or cannot answer: every part of the page says so in words, and all is well afterwards. */
export async function survives(page, step, outage, sentence, titles) {
  const [title] = titles;
  step(`${outage}: a change is taken back`);
  await control(`begin-${outage}`);
  await checkbox(page, title).click();
  await alerted(page, `“${title}” was not changed. ${sentence}`);
  await eventually(() => checkbox(page, title).isChecked(), false);
  await inspect(page, `notice-${outage}`);
  await button(page, "Dismiss").click();
  await hasFocus(heading(page, "Your tasks"));

  step(`${outage}: a deleted task comes back`);
  await button(page, `Delete ${title}`).click();
  await button(page.getByRole("dialog"), "Delete").click();
  await alerted(page, `“${title}” was not deleted. ${sentence}`);
  await checkbox(page, title).waitFor();

  step(`${outage}: what was typed stays`);
  await newTask(page).getByLabel("Title").fill("Bread");
  await button(page, "Add task").click();
  await newTask(page).getByRole("alert").filter({ hasText: sentence }).waitFor();
  assert.equal(await newTask(page).getByLabel("Title").inputValue(), "Bread");

  step(`${outage}: the list says so, and recovers`);
  await page.reload();
  await alerted(page, `Your tasks could not be loaded. ${sentence}`);
  await inspect(page, `error-${outage}`);
  await control(`end-${outage}`);
  await button(page, "Try again").click();
  await sees(page, titles);
  await hasFocus(heading(page, "Your tasks"));
  assert.deepEqual(await alerts(page), []);
}

export async function isOptimistic(page, step, title) {
  step("a change is seen before it is answered");
  const put = await hold(page, "PUT", `${TASKS}/`);
  await checkbox(page, title).click();
  await page.locator("li.completed").filter({ has: checkbox(page, title) }).waitFor();
  put.release();
  await said(page, `“${title}” is completed.`);
  await checkbox(page, title).click();
  await said(page, `“${title}” is pending.`);
}

/** The answers that the page gets from now on, as "200 /path". */
function listen(page) {
  const answers = [];
  page.on("response", (response) => answers.push(`${response.status()} ${new URL(response.url()).pathname}`));
  return (path) => answers.filter((answer) => answer.endsWith(` ${path}`));
}

/**
 * Hand out that many tokens that the API refuses, because somebody has changed them.
 *
 * A route with a limit of its own would end at the last, and of a request that is sent meanwhile Playwright hears nothing.
 */
const forging = (count) => async (route) => {
  if (count === 0) return route.continue();
  count -= 1;
  const answer = await route.fetch();
  const { token } = await answer.json();
  const [header, payload, signature] = token.split(".");
  await route.fulfill({ response: answer, json: { token: `${header}.${payload}.${signature.split("").reverse().join("")}` } });
};

export async function renewsItsToken(page, step, titles) {
  step("a token near its end is renewed");
  await page.goto(APP);
  await sees(page, titles);
  let heard = listen(page);
  await show(page, "Pending");
  await eventually(() => heard(TASKS), [`200 ${TASKS}`]);
  assert.deepEqual(heard(TOKEN), []);
  await later(page, 1);
  await show(page, "All");
  await eventually(() => heard(TASKS), [`200 ${TASKS}`, `200 ${TASKS}`]);
  assert.deepEqual(heard(TOKEN), [`200 ${TOKEN}`]);
  assert.deepEqual(await alerts(page), []);

  step("a token that the API refuses is replaced");
  heard = listen(page);
  await page.route(`${APP}${TOKEN}`, forging(1));
  await later(page, 2);
  await show(page, "Pending");
  await eventually(() => heard(TASKS), [`401 ${TASKS}`, `200 ${TASKS}`]);
  assert.deepEqual(heard(TOKEN), [`200 ${TOKEN}`, `200 ${TOKEN}`]);
  assert.deepEqual(await alerts(page), []);

  step("but no more than once");
  heard = listen(page);
  await page.route(`${APP}${TOKEN}`, forging(2));
  await later(page, 3);
  await show(page, "All");
  await alerted(page, "Your tasks could not be loaded.");
  assert.deepEqual(heard(TASKS), [`401 ${TASKS}`, `401 ${TASKS}`]);
  await page.getByRole("link", { name: "Sign in" }).waitFor();
  await page.unroute(`${APP}${TOKEN}`);
  await button(page, "Try again").click();
  await eventually(() => alerts(page), []);
  await sees(page, titles);
}

/** Cookies are shared by all tabs, but what is on a page belongs to the person it was made for. */
export async function noticesSomebodyElse(page, step, titles) {
  step("another tab signs out");
  const other = await page.context().newPage();
  await other.goto(APP);
  await sees(other, titles);
  await signOut(other);
  await heading(page, "Welcome back").waitFor();
  assert.ok(!(await page.content()).includes(titles[0]));
  await signIn(page, "Ada");
  await sees(page, titles);

  step("somebody else signs in, and the page has not heard of it");
  await page.route(`${APP}/api/auth/get-session`, (route) => route.abort());
  await other.goto(APP);
  await sees(other, titles);
  await signOut(other);
  await signUp(other, "Dora");
  await heading(other, "Nothing to do yet").waitFor();
  await later(page, 4);
  await show(page, "Pending");
  await alerted(page, "Somebody else has signed in here. Please sign in again.");
  await page.getByRole("link", { name: "Sign in" }).click();
  await heading(page, "Nothing to do yet").waitFor();
  assert.ok(!(await page.content()).includes(titles[0]));
  await other.close();
}
