// Answers the API from mock/data.mjs and serves dist, on loopback, for writing
// pages without a cluster: node mock/server.mjs [--nodes 10000] [--port 4300].
// It checks nothing and keeps nothing.
import { createServer } from "node:http";
import { readFile, readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as data from "./data.mjs";
import { advance } from "./runs.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const flag = (name, standard) => {
  const i = process.argv.indexOf(`--${name}`);
  return i > 0 ? Number(process.argv[i + 1]) : standard;
};
const nodes = data.makeNodes(flag("nodes", 36));
const byName = new Map(nodes.map((n) => [n.name, n]));
const streams = new Set();
let events = 0;
let paused;

const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const worst = (checks) => ["critical", "warning", "passing"].find((h) => checks.some((c) => c.status === h)) ?? "unknown";

function publish(topic, type, node) {
  const id = `mock-${++events}`;
  for (const s of streams) s.write(`id: ${id}\ndata: ${JSON.stringify({ topic, type, node })}\n\n`);
}

function select(q) {
  if (q === "agent=linked") return nodes.filter((n) => n.agent === "linked");
  if (q?.includes(",")) return q.split(",").map((n) => byName.get(n));
  if (!q || q === "all" || q.startsWith("dc=\"bj-e-01\"")) return nodes;
  if (q.startsWith("dc=")) return [];
  const name = /^name="(.*)"$/.exec(q);
  if (name) return nodes.filter((n) => n.name === name[1]);
  const role = /^role=([\w-]+)$/.exec(q);
  if (role) return nodes.filter((n) => n.naming.role === role[1]);
  if (byName.has(q)) return [byName.get(q)];
  throw problem(422, "invalid", `read the query: parse query: expected a condition after "and" (column ${q.length + 1})`, "a condition is a field, an operator and a value: role=web");
}

const problem = (status, code, detail, hint) => ({ problem: { type: "about:blank", title: code, status, code, detail, hint } });

function services() {
  const found = new Map();
  for (const n of nodes) for (const s of n.services) {
    const own = n.checks.filter((c) => c.service === s.name || !c.service && c.id === "serfHealth");
    const status = worst(own);
    const d = found.get(s.name) ?? { name: s.name, dc: n.dc, tags: [], instances: 0, passing: 0, warning: 0, critical: 0, unknown: 0, dns: [`${s.name}.service.bj-e-01.yixia`, `${s.name}.service.consul`], list: [] };
    d.instances++;
    d[status]++;
    d.tags = [...new Set([...d.tags, ...(s.tags ?? [])])];
    d.list.push({ id: s.id, node: n.name, address: n.address, port: s.port, tags: s.tags, status, checks: own });
    found.set(s.name, d);
  }
  return [...found.values()].sort((a, b) => a.name.localeCompare(b.name));
}

function stateOf(n, c) {
  const lost = c.output === "TTL expired";
  return { node: n.name, dc: n.dc, status: c.status, since: new Date(Date.now() - 760_000).toISOString(), source: "link", agent_lost: lost,
    result: { check: c.id, name: c.name, kind: "script", notes: c.notes, status: c.status, hard: c.status, attempt: 1, attempts: 3, output: c.output, at: new Date().toISOString(), took: 38e6, flapping: c.id === "nginx" } };
}

const routes = [
  ["GET", /^\/v1\/status$/, () => data.status],
  ["GET", /^\/v1\/datacenters$/, () => ({ datacenters: data.datacenters })],
  ["GET", /^\/v1\/services$/, (_, q) => ({ services: q.get("dc") === "bj-e-01" || !q.get("dc") ? services().map(({ list, dns, ...s }) => s) : [] })],
  ["GET", /^\/v1\/services\/(.+)$/, ([name]) => services().find((s) => s.name === name) ?? problem(404, "not_found", `there is no service "${name}"`)],
  ["GET", /^\/v1\/nodes$/, (_, q) => {
    const all = select(q.get("q"));
    const from = q.get("after") ? Number(q.get("after")) : 0;
    const limit = Number(q.get("limit") || 1000);
    return { nodes: all.slice(from, from + limit), total: all.length, ...(from + limit < all.length && { next: String(from + limit) }) };
  }],
  ["GET", /^\/v1\/nodes\/([^/]+)$/, ([name]) => byName.get(name) ?? problem(404, "not_found", `there is no node "${name}"`, "`alps node list` shows the nodes")],
  ["GET", /^\/v1\/nodes\/([^/]+)\/checks$/, ([name]) => ({ checks: byName.get(name).checks.map((c) => stateOf(byName.get(name), c)), total: 1 })],
  ["GET", /^\/v1\/nodes\/([^/]+)\/sessions$/, ([name]) => ({ sessions: data.sessions.filter((s) => s.node === name) })],
  ["GET", /^\/v1\/nodes\/([^/]+)\/rtt$/, ([name]) => {
    const peers = nodes.filter((n) => n.name !== name).slice(0, 60).map((n, i) => ({ node: n.name, ms: 0.36 + (i * 0.041) + (i % 7) * 0.02 + (i > 32 ? 1.4 : 0) })).sort((a, b) => a.ms - b.ms);
    return { min: peers[0].ms, median: peers[peers.length >> 1].ms, max: peers.at(-1).ms, peers };
  }],
  ["GET", /^\/v1\/nodes\/([^/]+)\/config$/, ([name]) => (name.includes("hadoop") ? data.settings : { settings: [] })],
  ["POST", /^\/v1\/checks\/run$/, () => ({ asked: [], since: new Date().toISOString() })],
  ["GET", /^\/v1\/kv$/, (_, q) => {
    const prefix = q.get("prefix") ?? "";
    const below = [...data.kv.keys()].filter((k) => k.startsWith(prefix)).map((k) => prefix + k.slice(prefix.length).replace(/\/.*$/, "/"));
    return { prefix, keys: [...new Set(below)].sort() };
  }],
  ["GET", /^\/v1\/kv\/value$/, (_, q) => {
    const p = data.kv.get(q.get("key"));
    return p ? { ...p, ...(p.key.startsWith("alps/") && !p.key.startsWith("alps/config/") && { protected: "ALPS keeps alps/ itself; only alps/config/ is for people" }) } : problem(404, "not_found", `there is no key "${q.get("key")}"`);
  }],
  ["PUT", /^\/v1\/kv\/value$/, (_, q, body) => {
    const old = data.kv.get(q.get("key"));
    if ((old?.index ?? 0) !== body.index) return problem(409, "conflict", `somebody else has changed "${q.get("key")}" meanwhile; nothing was written`, "read it again, and decide with both values before you");
    const p = { key: q.get("key"), value: body.value, index: (old?.index ?? 2000) + 5, created: old?.created ?? 2000 };
    data.kv.set(p.key, p);
    publish("kv", "put");
    return { ...p, value: "" };
  }],
  ["DELETE", /^\/v1\/kv\/value$/, (_, q) => (data.kv.delete(q.get("key")), publish("kv", "delete"), undefined)],
  ["GET", /^\/v1\/acl$/, (_, q) => (q.get("dc") === "bj-f-01" ? { enabled: false, tokens: [], policies: [] } : data.acl)],
  ["GET", /^\/v1\/jobs$/, (_, q) => ({ jobs: data.jobs.slice(0, Number(q.get("limit") || 50)).map(({ groups, ...j }) => j) })],
  ["POST", /^\/v1\/jobs$/, (_, __, body) => (body.run_as === "root" ? { draft: { job: "aa", why: "the server's grant does not cover run-as root", expires: new Date().toISOString() } } : { job: data.jobs[0] })],
  ["GET", /^\/v1\/jobs\/([^/]+)$/, ([id]) => data.jobs.find((j) => j.id === id) ?? problem(404, "not_found", `there is no job ${id}`)],
  ["GET", /^\/v1\/jobs\/([^/]+)\/output\/.*$/, () => Buffer.from("line of output\n".repeat(500))],
  ["POST", /^\/v1\/jobs\/([^/]+)\/cancel$/, ([id]) => ({ job: Object.assign(data.jobs.find((j) => j.id === id), { phase: "cancel" }) })],
  ["GET", /^\/v1\/incidents$/, (_, q) => ({ incidents: data.incidents.filter((i) => (q.getAll("status").length === 0 || q.getAll("status").includes(i.status)) && (!q.get("q") || q.get("q") === `name="${i.node}"`)).map(({ timeline, ...i }) => i) })],
  ["GET", /^\/v1\/incidents\/([^/]+)$/, ([id]) => data.incidents.find((i) => i.id === id) ?? problem(404, "not_found", `there is no incident ${id}`)],
  ["POST", /^\/v1\/incidents\/([^/]+)\/(\w+)$/, ([id, what], _, body) => {
    const i = data.incidents.find((x) => x.id === id);
    const kind = { ack: "acked", close: "closed", reopen: "reopened", comment: "comment" }[what];
    i.timeline.push({ at: new Date().toISOString(), kind, actor: "admin", text: body.text ?? "" });
    if (what !== "comment") i.status = { ack: "acked", close: "closed", reopen: "open" }[what];
    publish(`incident/${id}`, kind);
    return i;
  }],
  ["GET", /^\/v1\/rules$/, () => data.rules],
  ["GET", /^\/v1\/policies$/, () => ({ policies: data.policies, ...(paused && { paused }) })],
  ["GET", /^\/v1\/remedy-runs$/, (_, q) => ({ runs: data.runs.filter((r) => !q.get("incident") || r.incident === q.get("incident")) })],
  ["GET", /^\/v1\/remedy-runs\/([^/]+)$/, ([id]) => data.runs.find((r) => r.id === id) ?? problem(404, "not_found", `there is no run ${id}`)],
  ["POST", /^\/v1\/remedy-runs\/([^/]+)\/(approve|reject)$/, ([id, what]) => {
    const r = data.runs.find((x) => x.id === id);
    if (r.state !== "proposed") return problem(409, "conflict", `the run ${id} waits for nobody: it is ${r.state}`);
    Object.assign(r, what === "approve" ? { state: "decided", approved: "admin" } : { state: "refused", guard: "approval", reason: "admin said no", ended: new Date().toISOString() });
    publish("remedy", r.state, r.node);
    return r;
  }],
  ["POST", /^\/v1\/policies\/([^/]+)\/simulate$/, ([policy], _, body) => {
    const seen = data.runs.find((r) => r.policy === policy && r.steps?.some((s) => s.kind === "step"));
    const steps = seen?.steps.slice(0, seen.steps.findIndex((s) => s.kind === "step") + 1) ?? [];
    return { policy, incident: body.incident, would: true, verdicts: [{ guard: "paused" }, { guard: "mode" }], run: { ...seen, state: "observed", steps } };
  }],
  ["POST", /^\/v1\/remedy\/(pause|resume)$/, ([what], q, body) => {
    const [policy, group] = [q.get("policy"), q.get("group")];
    const by = what === "pause" ? { ...(policy && { policy }), ...(group && { group }), by: "admin", at: new Date().toISOString(), reason: body.reason } : undefined;
    if (!policy && !group) paused = by;
    else for (const p of data.policies) if (policy ? p.name === policy : p.group === group) p.paused = by;
    publish("remedy", what);
  }],
];

setInterval(() => (advance(), publish("remedy", "verifying")), 2000).unref();

const kinds = { js: "text/javascript", css: "text/css", svg: "image/svg+xml" };

async function file(res, path) {
  const dist = join(here, "../dist");
  const assets = await readdir(join(dist, "assets"));
  const name = path.replace("/ui/assets/", "");
  const known = path.startsWith("/ui/assets/") && assets.includes(name);
  res.writeHead(200, { "Content-Type": known ? kinds[name.split(".").pop()] : "text/html; charset=utf-8", "Content-Security-Policy": policy, "Cache-Control": "no-cache" });
  res.end(await readFile(known ? join(dist, "assets", name) : join(dist, "index.html")));
}

createServer(async (req, res) => {
  const at = new URL(req.url, "http://x");
  if (at.pathname === "/") return res.writeHead(302, { Location: "/ui/" }).end();
  if (!at.pathname.startsWith("/v1/")) return file(res, at.pathname);
  if (!req.headers.authorization && at.pathname !== "/v1/status") return send(res, problem(401, "unauthorized", "it needs a token"));
  if (req.headers.authorization?.startsWith("Bearer wrong")) return send(res, problem(401, "unauthorized", "the token is not known", "alps token list"));
  if (at.pathname === "/v1/events") {
    res.writeHead(200, { "Content-Type": "text/event-stream" });
    res.write(`: hello\n\nid: mock-${events}\ndata: {"type":"reset"}\n\n`);
    streams.add(res);
    const beat = setInterval(() => res.write(`: still here\nid: mock-${events}\n\n`), 15_000);
    return res.on("close", () => { streams.delete(res); clearInterval(beat); });
  }
  const chunks = [];
  for await (const c of req) chunks.push(c);
  const body = chunks.length ? JSON.parse(Buffer.concat(chunks).toString()) : {};
  for (const [method, path, answer] of routes) {
    const m = method === req.method && path.exec(at.pathname);
    if (!m) continue;
    try {
      return send(res, answer(m.slice(1).map(decodeURIComponent), at.searchParams, body));
    } catch (e) {
      return send(res, e.problem ? e : problem(500, "internal", String(e)));
    }
  }
  send(res, problem(404, "not_found", `no route ${req.method} ${at.pathname}`));
}).listen(flag("port", 4300), "127.0.0.1", function () {
  console.log(`http://127.0.0.1:${this.address().port}/ui/#token=mock`);
});

function send(res, answer) {
  if (answer === undefined) return res.writeHead(204).end();
  if (Buffer.isBuffer(answer)) return res.writeHead(200).end(answer);
  res.writeHead(answer.problem?.status ?? 200, { "Content-Type": answer.problem ? "application/problem+json" : "application/json" });
  res.end(JSON.stringify(answer.problem ?? answer));
}
