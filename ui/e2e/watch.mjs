// Watches an incident live: prints "watching" once the page of alerts is open,
// then waits until an incident about ALPS_NODE shows up by itself, opens it,
// and waits until its story ends with the recovery. Nothing is reloaded. With
// ALPS_APPROVE it tries what the policy that asks would do, says yes, and prints
// "approved". What a policy did is read to its end.
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

// approve says yes to the policy that asks about the incident, and comes back.
async function approve() {
  await p.click('a[href*="/ui/remedy/"]:has-text("asks a person")', { timeout: patience });
  await p.click('button:has-text("Try it first")');
  await p.waitForSelector('.trial [role="status"]:has-text("It would act")', { timeout: patience });
  await shot("run-tried");
  await p.click('.trace button:has-text("Approve")');
  await p.fill("dialog input", "watched by a browser");
  await shot("run-proposed");
  await p.click('dialog button:has-text("Approve")');
  await p.waitForSelector('.trace button:has-text("Approve")', { state: "detached" });
  console.log("approved");
  await p.goBack();
}

// readRun opens what a policy did about the incident, if one did anything.
async function readRun() {
  const run = p.locator('a[href*="/ui/remedy/"]').first();
  if ((await run.count()) === 0) return;
  await run.click();
  for (const station of ["The check before", "The incident", "The decision", "The check after"]) {
    await p.waitForSelector(`.trace li:has-text("${station}")`);
  }
  await shot("run");
}

let status = 1;
try {
  await p.goto(`${url}/ui/alerts#token=${encodeURIComponent(token)}`);
  await p.waitForSelector("main .empty, main table");
  let reloads = 0;
  p.on("load", () => reloads++);
  const before = await p.evaluate(async () => {
    const res = await fetch("/v1/incidents?limit=1000", { headers: { Authorization: "Bearer " + sessionStorage.getItem("alps.token") } });
    return (await res.json()).incidents.map((i) => i.id);
  });
  console.log("watching");
  // A new one, or an old one that is open again. It is kept by its id: a policy
  // may close it and move its row meanwhile.
  const found = await p.waitForFunction(([node, before]) => {
    const row = [...document.querySelectorAll("tr[data-row]")].find((r) =>
      r.textContent.includes(node) && (!r.classList.contains("past") || !before.includes(r.dataset.row)));
    return row?.dataset.row;
  }, [node, before], { timeout: patience });
  const id = await found.jsonValue();
  await shot("incident-list");
  console.log("opened");
  await p.click(`tr[data-row="${id}"] td.what a`);
  await p.waitForSelector(".timeline li");
  if (process.env.ALPS_APPROVE) await approve();
  await p.waitForSelector('.title .mark:has-text("closed")', { timeout: patience });
  await shot("incident-closed");
  if (reloads > 0) throw new Error("the page was loaded again");
  if (faults.length > 0) throw new Error(`the console complains:\n${faults.join("\n")}`);
  console.log("closed");
  await readRun();
  if (faults.length > 0) throw new Error(`the console complains:\n${faults.join("\n")}`);
  status = 0;
} catch (e) {
  await shot("failed");
  console.error(`FAIL  at ${p.url()}\n      ${e.message}`);
}
await browser.close();
process.exit(status);
