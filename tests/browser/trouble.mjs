// What the example app makes of refused tokens, of a backend that is away, and of slow and refused changes.
import assert from "node:assert/strict";
import {
  add, alerted, alerts, button, call, checkbox, comeBack, heading, inspect, later, remove, said, sees, signIn,
  signOut, signUp, waits,
} from "./person.mjs";
import { hold } from "./late.mjs";
import { control, eventually } from "./story.mjs";

const { APP } = process.env;
const TOKEN = "/api/auth/token";
const TASKS = "/api/tasks";
const CHANGES = "/api/changes";

/** The API is down, or cannot answer: the page says so in words, keeps what is done, and sends it afterwards. */
export async function survives(page, step, outage, sentence, titles) {
  const [title] = titles;
  step(`${outage}: changes wait`);
  await control(`begin-${outage}`);
  await checkbox(page, title).click();
  await said(page, `“${title}” is completed.`);
  await waits(page, "offline, 1 change waiting");
  await page.getByText(sentence).waitFor();
  await add(page, { title: "Bread" });
  await waits(page, "offline, 2 changes waiting");
  await inspect(page, `waiting-${outage}`);

  step(`${outage}: they are there after a reload`);
  await page.reload();
  await sees(page, ["Bread", ...titles]);
  await waits(page, "offline, 2 changes waiting");
  assert.ok(await checkbox(page, title).isChecked());

  step(`${outage}: they are sent when it is over`);
  await control(`end-${outage}`);
  await comeBack(page);
  await waits(page, "");
  const [, sent] = await call(page, "GET", "/api/tasks");
  assert.deepEqual(sent.map(({ title }) => title), ["Bread", ...titles]);
  assert.ok(sent[1].completed);
  await checkbox(page, title).click();
  await remove(page, "Bread");
  await sees(page, titles);
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
  let heard = listen(page);
  await page.goto(APP);
  await sees(page, titles);
  await eventually(() => heard(CHANGES).at(-1), `200 ${CHANGES}`);
  heard = listen(page);
  await comeBack(page);
  await eventually(() => heard(CHANGES).at(-1), `200 ${CHANGES}`);
  assert.deepEqual(heard(TOKEN), []);
  await later(page, 1);
  await comeBack(page);
  await eventually(() => heard(TOKEN), [`200 ${TOKEN}`]);
  assert.deepEqual(await alerts(page), []);

  step("a token that the API refuses is replaced");
  heard = listen(page);
  await page.route(`${APP}${TOKEN}`, forging(1));
  await later(page, 2);
  await comeBack(page);
  await eventually(() => heard(CHANGES).slice(-2), [`401 ${CHANGES}`, `200 ${CHANGES}`]);
  assert.deepEqual(heard(TOKEN), [`200 ${TOKEN}`, `200 ${TOKEN}`]);
  assert.deepEqual(await alerts(page), []);

  step("but no more than once");
  heard = listen(page);
  await page.route(`${APP}${TOKEN}`, forging(2));
  await later(page, 3);
  await comeBack(page);
  await alerted(page, "Your tasks could not be loaded.");
  assert.deepEqual(heard(CHANGES).slice(-2), [`401 ${CHANGES}`, `401 ${CHANGES}`]);
  await sees(page, titles);
  await page.getByRole("link", { name: "Sign in" }).waitFor();
  await page.unroute(`${APP}${TOKEN}`);
  await button(page, "Try again").click();
  await eventually(() => alerts(page), []);
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
  await page.addInitScript(() => void (window.BroadcastChannel = class { postMessage() {} close() {} }));
  await page.reload();
  await sees(page, titles);
  await page.route(`${APP}/api/auth/get-session`, (route) => route.abort());
  await other.goto(APP);
  await sees(other, titles);
  await signOut(other);
  await signUp(other, "Dora");
  await heading(other, "Nothing to do yet").waitFor();
  await later(page, 4);
  await comeBack(page);
  await heading(page, "Nothing to do yet").waitFor();
  assert.ok(!(await page.content()).includes(titles[0]));
  await other.close();
}
