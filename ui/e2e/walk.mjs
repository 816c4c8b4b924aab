// Walks the whole interface against a real server, as a person would, and
// fails at the first thing that is not there. What it needs and what it leaves
// behind is in README.md.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { need, open, page } from "./browser.mjs";

const url = need("ALPS_URL");
const token = need("ALPS_TOKEN");
const shots = process.env.ALPS_SHOTS;
const faults = [];
const stamp = Date.now().toString(36);

if (shots) await mkdir(shots, { recursive: true });
const browser = await open();
const p = await page(browser, { viewport: { width: 1280, height: 860 }, locale: "en-US", colorScheme: "light" }, faults);

const shot = async (name) => {
  if (shots) await p.screenshot({ path: join(shots, `${name}.png`) });
};
const must = (ok, what) => {
  if (!ok) throw new Error(what);
};
// api asks the server from within the page, as the page does.
const api = (method, path, body) => p.evaluate(async ([method, path, body]) => {
  const res = await fetch(path, {
    method, headers: { Authorization: "Bearer " + sessionStorage.getItem("alps.token"), "Content-Type": "application/json" },
    body: body ? JSON.stringify(body) : null,
  });
  return { status: res.status, body: await res.json().catch(() => undefined) };
}, [method, path, body]);
const settled = () => p.waitForFunction(() => !document.querySelector(".loading"));
const tab = async (name) => {
  await p.click(`header nav >> text="${name}"`);
  await settled();
};

const steps = {
  async "a wrong token is refused"() {
    await p.goto(`${url}/`);
    must(p.url().includes("/ui/"), `the bare address leads to ${p.url()}`);
    await p.fill("#token", "wrong-" + stamp);
    await p.click("button[type=submit]");
    await p.waitForSelector(".login [role=alert]");
    await shot("login");
  },
  async "a token signs in"() {
    await p.fill("#token", token);
    await p.click("button[type=submit]");
    await p.waitForSelector("header.top");
  },
  async "a token in the address is taken out of it"() {
    await p.evaluate(() => sessionStorage.clear());
    await p.goto(`${url}/ui/services#token=${encodeURIComponent(token)}`);
    await p.reload();
    await p.waitForSelector("header.top");
    must(!p.url().includes("token"), `the address still is ${p.url()}`);
  },
  async "the tabs stand in their order"() {
    const tabs = (await p.locator("header nav > a, header nav .dc > button").allInnerTexts()).map((s) => s.split("\n")[0].trim());
    const [dc] = tabs.splice(4, 1);
    must(tabs.join() === "SERVICES,NODES,KEY/VALUE,ACL,JOBS,ALERTS", `the tabs are ${tabs}`);
    must(dc && dc === dc.toUpperCase(), `the datacenter is ${dc}`);
  },
  async "services and their names"() {
    await tab("SERVICES");
    await p.click(".master [role=listitem] a");
    await p.waitForSelector(".detail h1");
    await p.waitForSelector(".detail h2 >> text=DNS names");
    await shot("service");
    await p.click("[data-expand]");
    await p.waitForSelector(".inline li");
    await shot("services");
  },
  async "nodes by name and status"() {
    await tab("NODES");
    const rows = p.locator(".master [role=listitem]");
    await rows.first().waitFor();
    const name = (await rows.first().locator(".name").innerText()).trim();
    await p.keyboard.press("/");
    await p.keyboard.type(name);
    await p.waitForURL((u) => u.searchParams.get("name") === name);
    must((await rows.count()) >= 1, `the filter ${name} shows nothing`);
    await p.keyboard.press("Escape");
    await p.click("[data-expand]");
    await p.waitForSelector(".inline >> text=Serf Health Status");
    await shot("nodes");
  },
  async "a node's page has its blocks"() {
    await p.click(".master [role=listitem] a.line");
    await p.waitForSelector(".detail h1");
    await settled();
    const titles = (await p.locator(".detail h2").allInnerTexts()).map((s) => s.toLowerCase().replace(/\d+$/, "").trim());
    for (const t of ["checks", "services", "lock sessions", "network tomography", "effective configuration", "recent jobs", "recent incidents"]) {
      must(titles.includes(t), `the node's page has no ${t}, but ${titles}`);
    }
    await p.waitForSelector(".detail >> text=Serf Health Status");
    await p.waitForSelector(".detail >> text=Agent alive and reachable");
    // One picture of the whole page, beside the whole list.
    await p.keyboard.press("/");
    await p.keyboard.press("Control+A");
    await p.keyboard.press("Delete");
    await p.keyboard.press("Escape");
    await p.setViewportSize({ width: 1280, height: 1500 });
    await settled();
    await shot("node");
    await p.setViewportSize({ width: 1280, height: 860 });
  },
  async "keys lead over the pages, and back"() {
    await p.keyboard.press("g");
    await p.keyboard.press("n");
    await p.waitForURL(/\/ui\/nodes$/);
    await p.locator(".master [role=listitem]").first().waitFor();
    await p.keyboard.press("j");
    await p.keyboard.press("j");
    await p.keyboard.press("Enter");
    await p.waitForURL(/\/ui\/nodes\/.+/);
    await p.goBack();
    await p.waitForURL(/\/ui\/nodes$/);
    await p.keyboard.press("?");
    await p.waitForSelector("dialog[open]");
    await shot("help");
    await p.keyboard.press("Escape");
    await p.waitForSelector("dialog", { state: "detached" });
  },
  async "a key is made, changed, fought over and deleted"() {
    const key = `ui-e2e/${stamp}`;
    await tab("KEY/VALUE");
    await p.click('button:has-text("New key")');
    await p.fill("form input.mono", key);
    await p.fill("form textarea", '{"a":1}');
    await p.click('button:has-text("Create")');
    await p.waitForSelector('.detail pre:has-text("\\"a\\": 1")');
    await p.click('button:has-text("Edit")');
    await p.fill("textarea.code", '{"a":2}');
    const read = await api("GET", `/v1/kv/value?key=${encodeURIComponent(key)}`);
    must(read.status === 200, `reading the key answers ${read.status}`);
    const other = await api("PUT", `/v1/kv/value?key=${encodeURIComponent(key)}`, { value: btoa('{"a":3}'), index: read.body.index });
    must(other.status === 200, `writing behind the page's back answers ${other.status}`);
    const save = p.locator('button:has-text("Save")');
    if (await save.count()) await save.click();
    await p.waitForSelector(".conflict");
    await shot("conflict");
    await p.click('button:has-text("Go on with mine")');
    await p.click('button:has-text("Save")');
    await p.waitForSelector('.detail pre:has-text("\\"a\\": 2")');
    await shot("kv");
    await p.click('.detail button:has-text("Delete")');
    must(await p.locator("dialog button[type=submit]").isDisabled(), "a key can be deleted without typing its name");
    await p.fill("dialog input", key);
    await p.click("dialog button[type=submit]");
    await p.waitForSelector("dialog", { state: "detached" });
    const gone = await api("GET", `/v1/kv/value?key=${encodeURIComponent(key)}`);
    must(gone.status === 404, `the deleted key answers ${gone.status}`);
  },
  async "access control"() {
    await tab("ACL");
    await p.waitForSelector("main .empty, main table");
    await shot("acl");
  },
  async "a wrong target shows its place"() {
    await tab("JOBS");
    await p.click('a:has-text("New job")');
    await p.fill(".targetbox input", "role=hadoop and");
    await p.waitForSelector(".pointed");
    must((await p.innerText(".pointed")).includes("^"), "no caret points at the fault");
    await shot("composer-wrong");
  },
  async "an uploaded script runs on two nodes"() {
    const list = await api("GET", "/v1/nodes?q=agent%3Dlinked&limit=2");
    must(list.body?.nodes?.length === 2, `two linked nodes are needed, ${list.body?.nodes?.length} are there`);
    const names = list.body.nodes.map((n) => n.name);
    await p.setInputFiles("input[type=file]", { name: "hello.sh", mimeType: "text/plain", buffer: Buffer.from(`#!/bin/sh\necho "hello ${stamp} <b>$1</b>"\n`) });
    await p.fill(".targetbox input", names.join(","));
    await p.waitForSelector(".found >> text=2 nodes");
    await p.fill('label:has-text("Arguments") input', "'a b'");
    await shot("composer");
    await p.click('button:has-text("Run")');
    await p.waitForURL(/\/ui\/jobs\/[0-9a-f]{16}$/);
    await p.waitForSelector(`pre:has-text("hello ${stamp} <b>a b</b>")`, { timeout: 60_000 });
    await p.waitForSelector('.phase:has-text("ended")', { timeout: 60_000 });
    const counts = await p.innerText(".statecounts");
    must(/OK\s*2/.test(counts) && /of\s*2/.test(counts), `the counts are ${counts}`);
    await shot("job");
    await p.click(".back");
    await p.waitForSelector("table.jobs");
    await shot("jobs");
  },
  async "a running job is cancelled"() {
    const list = await api("GET", "/v1/nodes?q=agent%3Dlinked&limit=1");
    await p.click('a:has-text("New job")');
    await p.click('button:has-text("Command line")');
    await p.fill('label:has-text("A line for") input', "echo begun; sleep 300");
    await p.fill(".targetbox input", list.body.nodes[0].name);
    await p.waitForSelector(".found >> text=1 node");
    await p.click('button:has-text("Run")');
    await p.waitForSelector(".statecounts >> text=RUNNING", { timeout: 60_000 });
    await shot("job-running");
    await p.click('button:has-text("Cancel the job")');
    await p.click('dialog button:has-text("Stop it")');
    await p.waitForSelector('.phase:has-text("ended")', { timeout: 60_000 });
    const counts = await p.innerText(".statecounts");
    must(/CANCELLED\s*1/.test(counts), `the counts are ${counts}`);
    await shot("job-cancelled");
  },
  async "alerts, rules and remediation"() {
    await tab("ALERTS");
    await p.waitForSelector("main .empty, main table, main .note");
    await shot("alerts");
    for (const view of ["Closed", "Rules", "Remediation"]) {
      await p.click(`.tabs button:has-text("${view}")`);
      await settled();
      await shot(`alerts-${view.toLowerCase()}`);
    }
    await p.waitForSelector(".killswitch");
  },
  async "a lost connection is said, and found again"() {
    await p.context().setOffline(true);
    await p.waitForSelector(".banner.bad", { timeout: 60_000 });
    await shot("stale");
    await p.context().setOffline(false);
    await p.waitForSelector(".banner.bad", { state: "detached", timeout: 30_000 });
  },
  async "Chinese and dark"() {
    await p.click('header button:has-text("中文")');
    await p.selectOption("header select", "dark");
    must((await p.evaluate(() => document.documentElement.lang)) === "zh-CN", "the page does not say that it is Chinese");
    for (const [key, name] of Object.entries({ s: "services", n: "nodes", k: "kv", c: "acl", j: "jobs", a: "alerts" })) {
      await p.keyboard.press("g");
      await p.keyboard.press(key);
      await p.waitForURL(new RegExp(`/ui/${name}`));
      await settled();
      await shot(`zh-dark-${name}`);
    }
    await p.setViewportSize({ width: 800, height: 860 });
    await p.click("header nav >> nth=0 >> a >> nth=1");
    await settled();
    await shot("zh-dark-narrow");
  },
  async "signing out forgets the token"() {
    await p.click('header button:has-text("退出")');
    await p.waitForSelector("#token");
    must((await p.evaluate(() => sessionStorage.length)) === 0, "something stays in the session");
  },
};

let failed = "";
for (const [name, step] of Object.entries(steps)) {
  try {
    await step();
    must(faults.length === 0, `the console complains:\n${faults.join("\n")}`);
    console.log(`ok    ${name}`);
  } catch (e) {
    failed = name;
    await shot("failed");
    console.error(`FAIL  ${name}\n      at ${p.url()}\n      ${e.message}`);
    break;
  }
}
await browser.close();
process.exit(failed ? 1 : 0);
