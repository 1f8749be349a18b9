// What every story needs: a browser, steps with names, and a failure that shows where the page was.
import assert from "node:assert/strict";
import { join } from "node:path";
import { chromium } from "playwright-core";

const { CHROMIUM, CONTROL, SCREENSHOTS } = process.env;
export const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

// Reported before any script of the page runs.
const reportViolations = () =>
  document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI, sourceFile }) =>
    console.error(`Content-Security-Policy: ${violatedDirective} refused ${blockedURI} in ${sourceFile}`),
  );

/** Act out `plot`, then say so on standard output; a failure goes there as well, and ends the process with 1. */
export async function story(plot) {
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ARGUMENTS });
  const pages = [];
  let current = "the beginning";

  const step = (name) => {
    current = name;
    console.log(`- ${name}`);
  };

  /** A page with cookies of its own, which keeps what its console says in `complaints`. */
  const open = async (options) => {
    const context = await browser.newContext(options);
    await context.addInitScript(reportViolations);
    const page = await context.newPage();
    page.complaints = [];
    page.on("console", (message) => {
      const { url } = message.location();
      if (["error", "warning"].includes(message.type())) page.complaints.push(`${message.text()} ${url}`);
    });
    page.on("pageerror", (error) => page.complaints.push(`uncaught ${error.stack}`));
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
  console.log(`\n${name}: ${page.url()}`, ...page.complaints.map((text) => `\n  console: ${text}`));
  console.log(`  screenshot: ${await screenshot(page, name).catch(({ message }) => message)}`);
}

export async function screenshot(page, name) {
  const path = join(SCREENSHOTS, `${name}.png`);
  await page.screenshot({ path, fullPage: true });
  return path;
}

/** Let the test act on the servers: one of the actions that it offers. */
export async function control(action) {
  const answer = await fetch(`${CONTROL}/${action}`, { method: "POST" });
  assert.equal(answer.status, 204, await answer.text());
}
