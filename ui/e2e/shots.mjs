// Takes a picture of every page in every look, for people to look at:
// ALPS_URL, ALPS_TOKEN and a folder. PAGES narrows it to names that begin so.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { need, open, page } from "./browser.mjs";

const url = need("ALPS_URL");
const token = need("ALPS_TOKEN");
const folder = process.argv[2] ?? "shots";
const node = process.env.ALPS_NODE ?? "bj-e-hadoop01-11-207";

const pages = {
  services: "/ui/services",
  "services-expand": "/ui/services?expand=1",
  service: "/ui/services/hdfs-datanode",
  nodes: "/ui/nodes",
  "nodes-expand": "/ui/nodes?expand=1&name=hadoop",
  node: `/ui/nodes/${node}`,
  kv: "/ui/kv",
  "kv-value": "/ui/kv?prefix=service/input-proxy/&key=service/input-proxy/upstreams.json",
  "kv-binary": "/ui/kv?key=service/flume/logo",
  "kv-protected": "/ui/kv?key=alps/leader",
  acl: "/ui/acl",
  "acl-off": "/ui/acl?dc=bj-f-01",
  jobs: "/ui/jobs",
  composer: "/ui/jobs/new?target=role%3Dhadoop",
  "composer-wrong": "/ui/jobs/new?target=role%3Dhadoop+and",
  job: "/ui/jobs/9c1f04d2a7b35e68",
  alerts: "/ui/alerts",
  incident: "/ui/alerts/5d0e11c2ab349f70",
  rules: "/ui/alerts?view=rules",
  policies: "/ui/alerts?view=policies",
  run: "/ui/remedy/a100000000000001",
  "run-proposed": "/ui/remedy/a200000000000002",
  "run-failed": "/ui/remedy/a500000000000005",
};

const looks = [
  { name: "light-en-1280", width: 1280, height: 860, colorScheme: "light", locale: "en-US" },
  { name: "dark-zh-1280", width: 1280, height: 860, colorScheme: "dark", locale: "zh-CN" },
  { name: "light-zh-800", width: 800, height: 860, colorScheme: "light", locale: "zh-CN" },
  { name: "dark-en-800", width: 800, height: 860, colorScheme: "dark", locale: "en-US" },
];

const wanted = (process.env.PAGES ?? "").split(",").filter(Boolean);
const wantedLooks = (process.env.LOOKS ?? "").split(",").filter(Boolean);
const faults = [];
await mkdir(folder, { recursive: true });
const browser = await open();
try {
  for (const look of looks) {
    if (wantedLooks.length && !wantedLooks.some((w) => look.name.startsWith(w))) continue;
    const p = await page(browser, { viewport: { width: look.width, height: look.height }, colorScheme: look.colorScheme, locale: look.locale }, faults);
    await p.goto(`${url}/ui/#token=${encodeURIComponent(token)}`);
    await p.waitForSelector("main .list, main .page");
    for (const [name, path] of Object.entries(pages)) {
      if (wanted.length && !wanted.some((w) => name.startsWith(w))) continue;
      await p.goto(url + path);
      await p.waitForLoadState("load");
      await p.waitForSelector("main .list, main .page, main form");
      await p.waitForFunction(() => !document.querySelector(".loading"));
      await p.waitForTimeout(500);
      await p.screenshot({ path: join(folder, `${name}.${look.name}.png`), fullPage: false });
      const tall = await p.evaluate(() => Math.max(...[...document.querySelectorAll("main, .detail")].map((e) => e.scrollHeight)) + 60);
      if (tall > look.height + 80 && process.env.TALL) {
        await p.setViewportSize({ width: look.width, height: Math.min(tall, 3000) });
        await p.screenshot({ path: join(folder, `${name}.${look.name}.tall.png`) });
        await p.setViewportSize({ width: look.width, height: look.height });
      }
    }
    await p.context().close();
  }
} finally {
  await browser.close();
}
if (faults.length) {
  console.error(faults.join("\n"));
  process.exit(1);
}
