// An estate that does not exist, in the manner of a data platform's: for
// looking at pages while they are written. No test of the product reads it.

import * as plans from "./runs.mjs";

const now = Date.now();
const at = (secondsAgo) => new Date(now - secondsAgo * 1000).toISOString();
const b64 = (s) => Buffer.from(s).toString("base64");
const sec = 1e9;

const range = (a, b) => Array.from({ length: b - a + 1 }, (_, i) => a + i);

const names = [
  ...range(203, 213).map((n) => `bj-e-hadoop01-11-${n}`),
  ...range(220, 230).map((n) => `bj-e-hadoop01-13-${n}`),
  ...range(33, 38).map((n) => `bj-e-hadoop01-15-${n}`),
  "bj-e-general-zk-01", "bj-e-general-zk-02", "bj-e-general-zk-03",
  "bj-e-bigdata-es-15-70", "bj-e-application-21-185", "bj-e-input-proxy", "bj-e-neo4j01", "bj-e-admin03",
];

const roleOf = (name) => name.replace(/^bj-e-/, "").replace(/(\d\d)?(-\d+)*$/, "");

function checksOf(name, i) {
  const list = [{ id: "serfHealth", name: "Serf Health Status", status: "passing", output: "Agent alive and reachable.", notes: "" }];
  list.push({ id: "alps-agent", name: "alps-agent", status: "passing", service: "alps-agent", output: "linked to server bj-e-admin03" });
  if (name.includes("hadoop")) {
    list.push({ id: "datanode", name: "HDFS DataNode", status: "passing", service: "hdfs-datanode", notes: "Port 50010 takes a connection.", output: "TCP connect 127.0.0.1:50010: Success" });
    const bad = i === 4;
    list.push({ id: "disk-data", name: "Data disks", status: bad ? "critical" : i === 9 ? "warning" : "passing", notes: "Every disk of dfs.datanode.data.dir answers a read and has room.",
      output: bad ? "CRITICAL - /data07: Input/output error\n/data01 ok 61%\n/data02 ok 60%\n/data03 ok 62%\n/data04 ok 61%\n/data05 ok 61%\n/data06 ok 63%\n/data07 FAILED read of 4096 bytes at block 0\n/data08 ok 60%\n/data09 ok 61%\n/data10 ok 59%\n/data11 ok 61%\n/data12 ok 60%"
        : i === 9 ? "WARNING - /data03 86% used" : "OK - 12 disks, at most 63% used | used=63%;85;95" });
  }
  if (name.includes("-zk-")) list.push({ id: "zk", name: "ZooKeeper ruok", status: "passing", service: "zookeeper", output: "imok" });
  if (name === "bj-e-neo4j01") list[1] = { id: "alps-agent", name: "alps-agent", status: "unknown", service: "alps-agent", output: "TTL expired" };
  if (name === "bj-e-input-proxy") list.push({ id: "nginx", name: "HTTP front", status: "critical", service: "input-proxy", notes: "<b>GET /health</b> answers 2xx", output: "HTTP GET http://localhost:8080/health: 502 Bad Gateway Output: <html><script>alert(1)</script></html>" });
  return list;
}

function node(name, i) {
  const m = /-(\d+)-(\d+)$/.exec(name);
  const address = m ? `172.17.${m[1]}.${m[2]}` : `172.17.21.${10 + i}`;
  const lost = name === "bj-e-neo4j01";
  return {
    id: "0f3a".repeat(7) + String(1000 + i), name, dc: "bj-e-01", address, status: "alive", type: i > 33 || name.includes("zk") ? "server" : "client", build: "1.22.5",
    agent: lost ? "lost" : "linked", since: at(lost ? 720 : 86400 * 3 + i * 60),
    naming: { site: "bj-e", role: roleOf(name), cluster: name.includes("hadoop01") ? "01" : "", rack: m ? m[1] : "", number: m ? m[2] : "" },
    facts: { host: name, os: "linux", distro: "debian", version: "12", kernel: "6.1.0-28-amd64", arch: "amd64", cpus: 32, memory: 128 * 2 ** 30, agent: "1.0.0",
      disks: name.includes("hadoop") ? range(1, 12).map((d) => ({ device: `/dev/sd${"abcdefghijkl"[d - 1]}`, mount: `/data${String(d).padStart(2, "0")}`, type: "ext4", size: 4e12 })) : [{ device: "/dev/sda1", mount: "/", type: "ext4", size: 5e11 }],
      boot_time: Math.floor(now / 1000) - 86400 * 41 },
    services: [{ id: "alps-agent", name: "alps-agent", port: 0 },
      ...(name.includes("hadoop") ? [{ id: "hdfs-datanode", name: "hdfs-datanode", port: 50010, tags: ["hadoop", "rack-" + (m ? m[1] : "")] }] : []),
      ...(name.includes("-zk-") ? [{ id: "zookeeper", name: "zookeeper", port: 2181, tags: ["general"] }] : []),
      ...(name === "bj-e-input-proxy" ? [{ id: "input-proxy", name: "input-proxy", port: 8080, tags: ["http", "edge"] }] : [])],
    checks: checksOf(name, i), meta: {},
  };
}

export function makeNodes(count) {
  const list = names.map(node);
  for (let i = list.length; i < count; i++) list.push(node(`bj-e-fill${String(i % 100).padStart(2, "0")}-${i % 250}-${Math.floor(i / 250)}`, i));
  return list.sort((a, b) => a.name.localeCompare(b.name));
}

export const status = { version: "1.0.0", cluster: "bj-e", detail: { name: "bj-e-admin03", started: at(86400), ready: true, as_of: at(1), nodes: names.length, linked: names.length - 1, open: 1 } };
export const datacenters = [{ name: "bj-e-01", own: true, nodes: names.length, loaded: true }, { name: "bj-f-01", own: false, nodes: 4, loaded: true }, { name: "sh-a-01", own: false, nodes: 0, loaded: false, away: at(300), error: "no path to datacenter" }];

export const sessions = [{ id: "6f0c2a41-52f4-9d2e-0a17-7e3c5a86f1b2", name: "alps-server", node: "bj-e-admin03", ttl: 15 * sec, lock_delay: 5 * sec, behavior: "release", checks: ["serfHealth"], keys: ["alps/leader"] }];

export const settings = { delivered: at(3600), settings: [
  { name: "check.disk-data.warn", value: "85", from: "alps/config/role/hadoop/check.disk-data.warn", over: ["alps/config/global/check.disk-data.warn"] },
  { name: "exec.max_parallel", value: "4", from: "alps/config/global/exec.max_parallel" },
  { name: "hdfs.datanode.port", value: "50010", from: "alps/config/dc/bj-e-01/hdfs.datanode.port" }] };

export const kv = new Map(Object.entries({
  "alps/config/global/exec.max_parallel": "4",
  "alps/config/global/check.disk-data.warn": "80",
  "alps/config/role/hadoop/check.disk-data.warn": "85",
  "alps/config/dc/bj-e-01/hdfs.datanode.port": "50010",
  "alps/leader": "bj-e-admin03",
  "alps/exec/head/03": "{\"epoch\":7,\"seq\":1204}",
  "service/input-proxy/upstreams.json": JSON.stringify({ upstreams: [{ host: "172.17.21.185", port: 8080, weight: 10 }, { host: "172.17.21.186", port: 8080, weight: 10 }], timeout_ms: 300, 说明: "灰度" }),
  "service/flume/agent.conf": "agent.sources = r1\nagent.channels = c1\nagent.sinks = k1\nagent.sources.r1.type = avro\nagent.sources.r1.port = 4141\n",
  "service/flume/logo": Buffer.from([137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 255]),
}).map(([k, v], i) => [k, { key: k, value: Buffer.from(v).toString("base64"), index: 1200 + i * 7, created: 1000 + i }]));

const nodesOf = (n) => names.slice(0, n);

export const jobs = [
  { id: "9c1f04d2a7b35e68", attempt: 1, author: "admin", signer: "ops@bj-e", title: "df -h /data* | tail -n +2", target: "role=hadoop", created: at(40), expires: at(-3500), phase: "run", wave: 0, waves: 1,
    counts: { OK: 20, RUNNING: 4, FAILED: 2, PENDING: 1, TIMEOUT: 1 }, woke: { event: 22, watch: 4, poll: 1 },
    groups: [
      { id: "a", state: "OK", count: 20, nodes: "bj-e-hadoop01-11-[203-206,208-213],bj-e-hadoop01-13-[220-229]", stdout: { bytes: 120, digest: "d1", inline: b64("/dev/sdb1       3.6T  2.2T  1.4T  61% /data01\n/dev/sdc1       3.6T  2.2T  1.4T  60% /data02\n/dev/sdd1       3.6T  2.3T  1.3T  62% /data03\n") } },
      { id: "b", state: "FAILED", code: 1, count: 2, nodes: "bj-e-hadoop01-11-207,bj-e-hadoop01-15-33", stdout: { bytes: 60, digest: "d2", inline: b64("/dev/sdb1       3.6T  2.2T  1.4T  61% /data01\n") }, stderr: { bytes: 70, digest: "d3", inline: b64("\u001b[31mdf: /data07: Input/output error\u001b[0m\n") } },
      { id: "c", state: "RUNNING", count: 4, nodes: "bj-e-hadoop01-15-[34-37]" },
      { id: "d", state: "PENDING", count: 1, nodes: "bj-e-hadoop01-13-230" },
      { id: "e", state: "TIMEOUT", reason: "ran longer than 30 s; the whole tree was stopped", count: 1, nodes: "bj-e-hadoop01-15-38", stdout: { bytes: 5000000, truncated: true, digest: "d4".repeat(32) } }] },
  { id: "1b7730aa52e94c0d", attempt: 1, author: "li.wei", title: "rotate-logs.sh --keep 7", target: "all", created: at(5400), ended: at(5390), expires: at(1800), phase: "run", wave: 0, waves: 1, counts: { OK: names.length },
    groups: [{ id: "a", state: "OK", count: names.length, nodes: nodesOf(36).join(","), stdout: { bytes: 12, digest: "x", inline: b64("rotated 14\n") } }] },
  { id: "77e2c40f91d3ab56", attempt: 1, author: "alps", title: "hdfs-decommission.sh /data07", target: "name=bj-e-hadoop01-11-207", created: at(700), ended: at(660), expires: at(-100), phase: "run", wave: 0, waves: 1, counts: { OK: 1 },
    groups: [{ id: "a", state: "OK", count: 1, nodes: "bj-e-hadoop01-11-207", stdout: { bytes: 80, digest: "x", inline: b64("bj-e-hadoop01-11-207:50010 Decommission In Progress\n") } }] },
];

export const incidents = [
  { id: "5d0e11c2ab349f70", rule: "hdfs-disk", severity: "critical", summary: "A data disk of bj-e-hadoop01-11-207 does not answer", owner: "storage", runbook: "https://wiki.example/hdfs-disk", dc: "bj-e-01", node: "bj-e-hadoop01-11-207", check: "disk-data", service: "", disks: ["sdg1"], status: "open", health: "critical",
    output: "CRITICAL - /data07: Input/output error", began: at(760), opened: at(730), updated: at(655),
    timeline: [
      { at: at(760), kind: "check", actor: "alps", text: "disk-data: passing → critical: /data07: Input/output error" },
      { at: at(730), kind: "opened", actor: "alps", text: "critical for 30 s", data: { rule: "hdfs-disk" } },
      { at: at(729), kind: "notified", actor: "alps", text: "sent", data: { receiver: "storage-robot" } },
      { at: at(728), kind: "notify_failed", actor: "alps", text: "POST https://robot.example: connection refused; it is tried again", data: { receiver: "sms" } },
      { at: at(702), kind: "remedy", actor: "alps", text: "hdfs-disk-gentle acts: the guards agree", data: { policy: "hdfs-disk-gentle", job: "77e2c40f91d3ab56" } },
      { at: at(660), kind: "remedy", actor: "alps", text: "the script ended with 0; the check decides within 5 min" },
      { at: at(600), kind: "acked", actor: "li.wei", text: "I have the spare disk" },
      { at: at(120), kind: "comment", actor: "li.wei", text: "Disk swapped, formatting.\n磁盘已更换。" }] },
  { id: "b2c4d5e6f7081929", rule: "http-front", severity: "critical", summary: "input-proxy does not answer", owner: "edge", dc: "bj-e-01", node: "bj-e-input-proxy", check: "nginx", service: "input-proxy", status: "acked", acked_by: "zhang.san", health: "critical", output: "HTTP GET http://localhost:8080/health: 502 Bad Gateway", began: at(4000), opened: at(3990), updated: at(3000), timeline: [] },
  { id: "c3d5e6f708192a3b", rule: "agent-lost", severity: "warning", summary: "The agent on bj-e-neo4j01 is lost", dc: "bj-e-01", node: "bj-e-neo4j01", status: "open", health: "unknown", began: at(720), opened: at(720), updated: at(720), timeline: [] },
  { id: "d4e6f708192a3b4c", rule: "hdfs-disk", severity: "critical", summary: "A data disk of bj-e-hadoop01-13-224 does not answer", owner: "storage", dc: "bj-e-01", node: "bj-e-hadoop01-13-224", check: "disk-data", status: "closed", closed_by: "alps", health: "passing", began: at(90000), opened: at(89970), updated: at(88000), closed: at(88000), reopened: 1,
    timeline: [
      { at: at(90000), kind: "check", actor: "alps", text: "passing → critical" }, { at: at(89970), kind: "opened", actor: "alps", text: "critical for 30 s" },
      { at: at(89960), kind: "remedy", actor: "alps", text: "hdfs-disk-gentle refuses: 2 other nodes of the rack are out of service", data: { guard: "one-at-a-time" } },
      { at: at(88000), kind: "recovered", actor: "alps", text: "passing" }, { at: at(88000), kind: "closed", actor: "alps", text: "" }] },
];

export const runs = [...plans.runs,
  { id: "77e2c40f91d3ab56", policy: "hdfs-disk-gentle", incident: "5d0e11c2ab349f70", dc: "bj-e-01", node: "bj-e-hadoop01-11-207", check: "disk-data", script: "hdfs-decommission.sh", state: "verifying", decided: at(702), started: at(701), job: { state: "OK" } },
  { id: "88e2c40f91d3ab57", policy: "hdfs-disk-gentle", incident: "d4e6f708192a3b4c", dc: "bj-e-01", node: "bj-e-hadoop01-13-224", check: "disk-data", script: "hdfs-decommission.sh", state: "refused", guard: "cooldown", reason: "it acted on this node 12 min ago, and waits an hour between two actions", decided: at(89960), ended: at(89960) },
];

export const rules = { problems: [], rules: [
  { name: "hdfs-disk", check: "disk-data", target: "role=hadoop", status: ["critical"], for: 30 * sec, severity: "critical", notify: ["storage-robot", "sms"], owner: "storage", origin: "rules.hcl:3" },
  { name: "http-front", check: "nginx", status: ["critical"], for: 0, severity: "critical", notify: ["edge-robot"], owner: "edge", origin: "rules.hcl:14" },
  { name: "any-unknown", check: "*", status: ["warning", "unknown"], for: 600 * sec, severity: "warning", notify: [], origin: "rules.hcl:22" }],
  receivers: [{ name: "storage-robot", url: "https://robot.example/hook", resolved: true }, { name: "sms", command: ["/usr/local/bin/sms", "--group", "storage"], resolved: false }] };

export const policies = [...plans.policies,
  { name: "hdfs-disk-gentle", rule: "hdfs-disk", script: "hdfs-decommission.sh", args: ["--mount"], mode: "auto", target: "role=hadoop", timeout: 300 * sec, verify: 300 * sec, cooldown: 3600 * sec, per_hour: 3, storm: 5, storm_window: 600 * sec, failures: 3, last_hour: 1, failures_in_a_row: 0, last: runs.at(-2) },
  { name: "restart-front", rule: "http-front", script: "restart-nginx.sh", mode: "observe", timeout: 60 * sec, verify: 60 * sec, cooldown: 600 * sec, per_hour: 5, storm: 3, storm_window: 300 * sec, failures: 2, last_hour: 0, failures_in_a_row: 2, blocked: "2 actions in a row did not help; the breaker is open" },
];

export const acl = { enabled: true, tokens: [{ id: "00000000-0000-0000-0000-000000000002", name: "anonymous", description: "Anonymous Token" }, { id: "5a1e0d2c-7b0b-4f4e-9d53-1f2a3b4c5d6e", name: "alps-server", description: "ALPS servers", policies: ["alps-server"], local: false }],
  policies: [{ id: "00000000-0000-0000-0000-000000000001", name: "global-management", description: "A policy that grants unlimited access" }, { id: "9f8e7d6c-5b4a-4321-8765-0fedcba98765", name: "alps-server", description: "What an ALPS server needs" }] };
