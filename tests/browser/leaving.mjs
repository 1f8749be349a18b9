// The end of a session: what waits is asked about, and nothing is left for the next person.
import assert from "node:assert/strict";
import {
  add, alerted, button, checkbox, comeBack, heading, inspect, newTask, readyForOffline, signIn, signOut, signUp,
  toggle, waits,
} from "./person.mjs";
import { control, eventually } from "./story.mjs";

const { APP } = process.env;

export async function forgets(ours, network, step) {
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
