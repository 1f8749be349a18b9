// What every story needs: a browser, steps with names, and a failure that shows where the page was.
import assert from "node:assert/strict";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { start } from "./browsers.mjs";

const { CONTROL, EVERY_SCREENSHOT, SCREENSHOTS } = process.env;
// Longer for stories that wait for a server to start.
const STEP_TIMEOUT_MS = Number(process.env.STEP_TIMEOUT_MS ?? 20_000);

/** Act out `plot`, then say so on standard output; a failure goes there as well, and ends the process with 1. */
export async function story(plot) {
  const browser = await start();
  const pages = [];
  let current = "the beginning";

  const step = (name) => {
    current = name;
    console.log(`- ${name}`);
  };

  const open = async (options) => {
    const page = await browser.open(options);
    pages.push(page);
    return page;
  };

  try {
    await plot({ open, step });
  } catch (error) {
    console.log(`Failed: ${current}\n${error.stack}`);
    for (const [index, page] of pages.entries()) await describe(page, `failure-${index + 1}`);
    process.exitCode = 1;
  }
  await browser.close();
  if (!process.exitCode) console.log("The end.");
}

async function describe(page, name) {
  console.log(`\n${name}: ${await page.url()}`, ...page.complaints.map((text) => `\n  console: ${text}`));
  console.log(`  screenshot: ${await capture(page, name).catch(({ message }) => message)}`);
}

/** For a person to look at, if one wants to. */
export const screenshot = (page, name) => EVERY_SCREENSHOT && capture(page, name);

async function capture(page, name) {
  const path = join(SCREENSHOTS, `${name}.png`);
  await page.screenshot({ path, fullPage: true });
  return path;
}

/** Wait until `read()` gives what is expected. */
export async function eventually(read, expected) {
  for (const deadline = Date.now() + STEP_TIMEOUT_MS; ; await delay(50)) {
    const actual = await read();
    if (isDeepStrictEqual(actual, expected)) return;
    if (Date.now() > deadline) assert.deepEqual(actual, expected);
  }
}

/** Let the test act on the servers: one of the actions that it offers. */
export async function control(action) {
  const answer = await fetch(`${CONTROL}/${action}`, { method: "POST" });
  assert.equal(answer.status, 204, await answer.text());
}
