// Watches an incident live: prints "watching" once the page of alerts is open,
// then waits until an incident about ALPS_NODE shows up by itself, opens it,
// and waits until its story ends with the recovery. Nothing is reloaded.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { need, open, page } from "./browser.mjs";

const url = need("ALPS_URL");
const token = need("ALPS_TOKEN");
const node = need("ALPS_NODE");
const patience = Number(process.env.ALPS_PATIENCE ?? 120) * 1000;
const shots = process.env.ALPS_SHOTS;
const faults = [];

if (shots) await mkdir(shots, { recursive: true });
const browser = await open();
const p = await page(browser, { viewport: { width: 1280, height: 1000 }, locale: "en-US" }, faults);
const shot = async (name) => {
  if (shots) await p.screenshot({ path: join(shots, `${name}.png`) });
};

let status = 1;
try {
  await p.goto(`${url}/ui/alerts#token=${encodeURIComponent(token)}`);
  await p.waitForSelector("main .empty, main table");
  let reloads = 0;
  p.on("load", () => reloads++);
  console.log("watching");
  const row = p.locator(`tr[data-row]:has-text("${node}")`).first();
  await row.waitFor({ timeout: patience });
  await shot("incident-opened");
  console.log("opened");
  await row.locator("td.what a").click();
  await p.waitForSelector(".timeline li");
  await p.waitForSelector('.title .mark:has-text("closed")', { timeout: patience });
  await shot("incident-closed");
  if (reloads > 0) throw new Error("the page was loaded again");
  if (faults.length > 0) throw new Error(`the console complains:\n${faults.join("\n")}`);
  console.log("closed");
  status = 0;
} catch (e) {
  await shot("failed");
  console.error(`FAIL  at ${p.url()}\n      ${e.message}`);
}
await browser.close();
process.exit(status);
