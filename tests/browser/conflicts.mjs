// What another device did meanwhile, and what the API refuses: the example asks, and never writes over it.
import assert from "node:assert/strict";
import { hold } from "./late.mjs";
import {
  add, button, checkbox, edit, inspect, newTask, question, remove, save, task, titles, toggle, waits,
} from "./person.mjs";
import { eventually } from "./story.mjs";

const { APP } = process.env;

export async function asksAboutConflicts(ours, theirs, step) {
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
