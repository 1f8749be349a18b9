// Starts the browser that BROWSER names, from PROGRAM. A page of any of them has what stories for every browser need, under
// the names of Playwright: goto, reload, evaluate, mouse.click, keyboard.type and .press, screenshot; `complaints` has what
// its console says (not in WebKit).
import { chromium } from "playwright-core";
import { startFirefox, startWebKit } from "./webdriver.mjs";

const { BROWSER, PROGRAM } = process.env;
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

async function startChromium(program) {
  const browser = await chromium.launch({ executablePath: program, args: ARGUMENTS });

  async function open(options) {
    const context = await browser.newContext(options);
    await context.addInitScript(reportViolations);
    const page = await context.newPage();
    page.complaints = [];
    page.on("console", (message) => {
      const { url } = message.location();
      if (["error", "warning"].includes(message.type())) page.complaints.push(`${message.text()} ${url}`);
    });
    page.on("pageerror", (error) => page.complaints.push(`uncaught ${error.stack}`));
    return page;
  }

  return { open, close: () => browser.close() };
}

/** `open()` gives a page with cookies of its own. */
export const start = () => ({ chromium: startChromium, firefox: startFirefox, webkit: startWebKit })[BROWSER](PROGRAM);
