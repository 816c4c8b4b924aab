// What the scripts of this folder share: a browser, and the faults that any
// page must not have.
import { chromium } from "playwright-core";

export const need = (name) => {
  const v = process.env[name];
  if (!v) {
    console.error(`${name} is not set`);
    process.exit(2);
  }
  return v.replace(/\/$/, "");
};

export async function open() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
  });
}

// page returns a page that notes what its console complains of. A refused
// request is told by the page itself and is no fault of it.
export async function page(browser, options, faults) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, ...options });
  const p = await context.newPage();
  p.on("pageerror", (e) => faults.push(`${p.url()}: ${e.message}`));
  p.on("console", (m) => {
    const text = m.text();
    if (m.type() === "error" && !/Failed to load resource/.test(text)) faults.push(`${p.url()}: ${text}`);
  });
  p.setDefaultTimeout(15_000);
  return p;
}
