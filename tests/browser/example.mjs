// The example app from one end to the other. OUTAGES names what can go wrong, and the sentence that people then read.
import assert from "node:assert/strict";
import {
  add, alerted, button, call, checkbox, edit, fitsItsWidth, hasFocus, heading, inspect, newTask, remove, said, sees,
  show, signIn, signOut, signUp, sort, tabTo, task, textSize,
} from "./person.mjs";
import { bearsLateAnswers, keepsWhatIsTyped } from "./late.mjs";
import { control, screenshot, story } from "./story.mjs";
import { isOptimistic, noticesSomebodyElse, renewsItsToken, survives } from "./trouble.mjs";

const { API, APP } = process.env;
const OUTAGES = JSON.parse(process.env.OUTAGES);

const MILK = { title: "Buy milk", description: "Two litres\nof the fresh one", due: "2099-12-24" };
const BAKER = { title: "Bäcker 🥐" };
const TAXES = { title: "and the taxes", due: "2001-01-31" };
const REST = [BAKER.title, "Buy oat milk"];
const LONG = { title: "W".repeat(200) };

async function managesTasks(page, step) {
  step("add");
  await add(page, MILK);
  await add(page, BAKER);
  await add(page, TAXES);
  await sees(page, [TAXES.title, BAKER.title, MILK.title]);
  assert.equal(await newTask(page).getByLabel("Title").inputValue(), "");
  await task(page, MILK.title).getByText("of the fresh one").waitFor();
  await task(page, MILK.title).getByText("Due Dec 24, 2099").waitFor();
  await task(page, TAXES.title).getByText("Overdue since Jan 31, 2001").waitFor();

  step("a blank title is refused");
  await newTask(page).getByLabel("Title").fill(" ");
  await button(page, "Add task").click();
  await newTask(page).getByText("must not be blank").waitFor();
  await inspect(page, "refused");

  step("a double click adds one task");
  await newTask(page).getByLabel("Title").fill("Once");
  await button(page, "Add task").dblclick();
  await sees(page, ["Once", TAXES.title, BAKER.title, MILK.title]);
  await page.reload();
  await sees(page, ["Once", TAXES.title, BAKER.title, MILK.title]);
  await remove(page, "Once");

  step("toggle");
  await checkbox(page, BAKER.title).click();
  await said(page, `“${BAKER.title}” is completed.`);
  await inspect(page, "list");

  step("filter");
  await show(page, "Completed");
  await sees(page, [BAKER.title]);
  await show(page, "Pending");
  await sees(page, [TAXES.title, MILK.title]);
  await show(page, "All");

  step("sort");
  await sort(page, "Title");
  await sees(page, [TAXES.title, MILK.title, BAKER.title]);
  await sort(page, "Due date");
  await sees(page, [TAXES.title, MILK.title, BAKER.title]);
  await checkbox(page, BAKER.title).click();
  await said(page, `“${BAKER.title}” is pending.`);

  step("a refused edit keeps what was typed");
  const long = "Buy milk".repeat(26);
  const refused = await edit(page, MILK.title, { title: long });
  await button(refused, "Save").click();
  await refused.getByText("200 characters").waitFor();
  assert.equal(await refused.getByLabel("Title").inputValue(), long);
  await page.keyboard.press("Escape");
  await task(page, MILK.title).getByText("of the fresh one").waitFor();

  step("edit");
  const form = await edit(page, MILK.title, { title: "Buy oat milk", description: "One litre" });
  await inspect(page, "edit");
  await button(form, "Save").click();
  await said(page, "Saved “Buy oat milk”.");
  // Without a date, and created before the other.
  await sees(page, [TAXES.title, "Buy oat milk", BAKER.title]);
  await task(page, "Buy oat milk").getByText("One litre").waitFor();

  step("restart the backend");
  await control("restart");
  await page.reload();
  await sees(page, [TAXES.title, "Buy oat milk", BAKER.title]);
  assert.equal(await page.getByLabel("Sort by").inputValue(), "due_date");

  step("delete");
  await button(page, `Delete ${TAXES.title}`).click();
  const dialog = page.getByRole("dialog", { name: `Delete “${TAXES.title}”?` });
  await inspect(page, "delete");
  await button(dialog, "Keep it").click();
  await remove(page, TAXES.title);
  await sees(page, ["Buy oat milk", BAKER.title]);
}

async function usesTheKeyboard(page, step) {
  step("add and toggle with the keyboard alone");
  await page.goto(APP);
  await sees(page, REST);
  await tabTo(page, newTask(page).getByLabel("Title"));
  await page.keyboard.type("Call Bob");
  await page.keyboard.press("Enter");
  await said(page, "Added “Call Bob”.");
  await tabTo(page, checkbox(page, "Call Bob"));
  await page.keyboard.press("Space");
  await said(page, "“Call Bob” is completed.");
  assert.ok(await checkbox(page, "Call Bob").isChecked());
  await tabTo(page, button(page, "Delete Call Bob"));
  await page.keyboard.press("Enter");
  await tabTo(page, button(page, "Delete"));
  await page.keyboard.press("Enter");
  await sees(page, REST);
}

async function cannotReach(stranger, page, step) {
  step("somebody else's tasks are not there");
  const [, [{ id }]] = await call(page, "GET", "/api/tasks");
  const none = [404, { detail: "There is no such task." }];
  assert.deepEqual(await call(stranger, "GET", "/api/tasks"), [200, []]);
  for (const [method, path, body] of [
    ["GET", `/api/tasks/${id}`],
    ["PUT", `/api/tasks/${id}`, { title: "Mine" }],
    ["PATCH", `/api/tasks/${id}/complete`],
    ["DELETE", `/api/tasks/${id}`],
  ]) {
    assert.deepEqual(await call(stranger, method, path, body), none, method);
  }
  await sees(page, REST);
}

async function loadsMore(page, step) {
  step("load more");
  const numbers = Array.from({ length: 60 }, (_, index) => `Task ${index + 1}`);
  for (const title of numbers) await call(page, "POST", "/api/tasks", { title });
  await page.reload();
  await sees(page, numbers.toReversed().slice(0, 50));
  await button(page, "Load more").click();
  await sees(page, numbers.toReversed());
  await hasFocus(checkbox(page, "Task 10"));
  assert.equal(await button(page, "Load more").count(), 0);
}

async function fitsAPhone(page, step) {
  step("a phone's width, and the dark");
  await add(page, { ...LONG, description: LONG.title, due: TAXES.due });
  await page.setViewportSize({ width: 360, height: 740 });
  await fitsItsWidth(page);
  await inspect(page, "phone");
  await button(page, `Edit ${LONG.title}`).click();
  await fitsItsWidth(page);
  await screenshot(page, "phone-edit");
  await button(page, "Cancel").click();
  // The narrowest screen with the largest text of WCAG 2.2 (1.4.10 and 1.4.4).
  await page.setViewportSize({ width: 320, height: 568 });
  await textSize(page, "200%");
  await fitsItsWidth(page);
  await screenshot(page, "phone-large-text");
  await textSize(page, "");
  await page.setViewportSize({ width: 1280, height: 720 });
  await page.emulateMedia({ colorScheme: "dark" });
  await inspect(page, "dark");
  await page.emulateMedia({ colorScheme: "light" });
}

async function leavesNothingBehind(page, step) {
  step("the next person in the same tab");
  await signOut(page);
  await page.goBack();
  await heading(page, "Welcome back").waitFor();
  await signUp(page, "Carol");
  await heading(page, "Nothing to do yet").waitFor();
  assert.ok(!(await page.content()).includes("oat milk"));

  step("sign in again");
  await signOut(page);
  await signIn(page, "Ada", "not her password");
  await alerted(page, "Invalid email or password");
  await inspect(page, "sign-in-refused");
  await signIn(page, "Ada");
  await sees(page, [LONG.title, ...REST]);
}

/** As in the moment before the scripts of the page have started. */
async function keepsThePasswordToItself(open, step) {
  step("a form that is sent before the page is ready keeps the password out of the address");
  const page = await open({ javaScriptEnabled: false });
  for (const path of ["sign-in", "sign-up"]) {
    await page.goto(`${APP}/${path}`);
    if (path === "sign-up") await page.getByLabel("Name").fill("Eve");
    await page.getByLabel("Email").fill("eve@example.com");
    await page.getByLabel("Password").fill("secret-of-eve");
    await Promise.all([page.waitForEvent("load"), page.locator("form button").click()]);
    assert.ok(!page.url().includes("secret-of-eve"), page.url());
  }
}

await story(async ({ open, step }) => {
  step("sign up");
  const ada = await open({ reducedMotion: "reduce" });
  await ada.goto(APP);
  await heading(ada, "Welcome back").waitFor();
  await inspect(ada, "sign-in");
  await signUp(ada, "Ada");
  await heading(ada, "Nothing to do yet").waitFor();
  await inspect(ada, "empty");
  await managesTasks(ada, step);
  await usesTheKeyboard(ada, step);

  const bob = await open();
  await bob.goto(APP);
  await signUp(bob, "Bob");
  await heading(bob, "Nothing to do yet").waitFor();
  await cannotReach(bob, ada, step);
  await loadsMore(bob, step);
  await bearsLateAnswers(bob, step);
  const erin = await open();
  await erin.goto(APP);
  await signUp(erin, "Erin");
  await keepsWhatIsTyped(erin, step);

  for (const [outage, sentence] of Object.entries(OUTAGES)) await survives(ada, step, outage, sentence, REST);
  await isOptimistic(ada, step, BAKER.title);
  await fitsAPhone(ada, step);
  await leavesNothingBehind(ada, step);
  await renewsItsToken(ada, step, [LONG.title, ...REST]);
  await noticesSomebodyElse(ada, step, [LONG.title, ...REST]);
  await keepsThePasswordToItself(open, step);

  step("no page has complained of anything else");
  const expected = [API, `${APP}/api/auth/sign-in/email`, `${APP}/api/auth/get-session`];
  const isExpected = (text) => text.startsWith("Failed to load resource") && expected.some((url) => text.includes(url));
  const complaints = [ada, bob, erin].flatMap((page) => page.complaints.filter((text) => !isExpected(text)));
  assert.deepEqual(complaints, []);
});
