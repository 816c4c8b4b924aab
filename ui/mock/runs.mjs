// Runs of policies in every state in which one shows something of its own.
const now = Date.now();
const at = (secondsAgo) => new Date(now - secondsAgo * 1000).toISOString();
const sec = 1e9;
const node = "bj-e-hadoop01-11-207";

const bad = { node, dc: "bj-e-01", status: "critical", source: "link",
  result: { check: "hdfs-disk", name: "Data disks", kind: "probe", status: "critical", hard: "critical", attempt: 1, attempts: 1, at: at(130), took: 38e6,
    output: "/data07 cannot be written: input/output error\n/data01 ok 61%\n/data02 ok 60%\n/data03 ok 62%\n/data04 ok 61%\n/data05 ok 61%\n/data06 ok 63%\n/data08 ok 60%" } };
const good = { ...bad, status: "passing", result: { ...bad.result, status: "passing", output: "the volume is not configured any more; 11 of 11 volumes are well", at: at(20) } };

const took = (job, state, woke, answer) => ({ node: job, id: "0".repeat(32), job: { state, woke, ...(state === "FAILED" && { code: 1, reason: "exit status 1" }) }, ...(answer && { answer }) });
const step = (kind, name, state, nodes, more = {}) => ({
  rung: "main", kind, name, script: name, job: "77e2c40f91d3ab56", attempts: 1, state, started: at(90), ...(!["running", "waiting"].includes(state) && { ended: at(88.8) }), nodes, ...more });

const confirm = step("confirm", "hdfs-confirm", "ok", [took(node, "OK", "event", { verdict: "ok", reason: "the kernel's log and a write that HDFS placed there agree that /data07 has failed",
  facts: { datanode: "bj-e-hadoop01-11-207:9866", volumes: "/data07" },
  evidence: { device: "/dev/sdh1", kernel: "Buffer I/O error on dev sdh1, logical block 48234496, lost async page write", write: "input/output error (EIO)", "volume failures": "1" } })]);
const guard = step("guard", "hdfs-may-leave", "ok", [
  took("bj-e-hadoop01-11-203", "OK", "event", { verdict: "ok", reason: "3 DataNodes stay, and each block has 2 copies elsewhere",
    evidence: { "live nodes": "4", "dead nodes": "0", decommissioning: "0", "missing blocks": "0", "corrupt blocks": "0", "safe mode": "off", "free elsewhere": "61 TiB", "needed elsewhere": "4.1 TiB", "replication": "3", state: "active" } }),
  took("bj-e-hadoop01-11-204", "OK", "watch", { verdict: "ok", reason: "the standby agrees", evidence: { state: "standby" } })]);
const act = step("step", "hdfs-decommission", "ok", [
  took("bj-e-hadoop01-11-203", "OK", "event", { verdict: "ok", evidence: { "exclude file": "+1 line", refresh: "done" } }), took("bj-e-hadoop01-11-204", "OK", "event", { verdict: "ok", evidence: { "exclude file": "+1 line", refresh: "done" } })]);
const moving = { state: "Decommission In Progress", left: 120, total: 320, unit: "blocks", rate: 13.7 };
const behind = { state: "Decommission In Progress", left: 118, total: 320, unit: "blocks" };
const prove = step("prove", "hdfs-proven", "waiting", [
  took("bj-e-hadoop01-11-203", "OK", "event", { verdict: "wait", reason: "120 blocks are not copied yet", progress: moving, evidence: { "missing blocks": "0", "low redundancy": "120" } }),
  took("bj-e-hadoop01-11-204", "OK", "event", { verdict: "wait", reason: "118 blocks are not copied yet", progress: behind })], { attempts: 12, deadline: at(-5), reason: "120 blocks are not copied yet" });
const proven = step("prove", "hdfs-proven", "ok", [took("bj-e-hadoop01-11-203", "OK", "event", { verdict: "ok", reason: "no block is missing, and each has as many copies as before",
  progress: { state: "Decommissioned", left: 0, total: 320, unit: "blocks" }, evidence: { "missing blocks": "0", "low redundancy": "0", "checksum of 4 test files": "as before" } })], { attempts: 24, ended: at(22) });
const undone = step("undo", "hdfs-decommission", "ok", [took("bj-e-hadoop01-11-203", "OK", "event", { verdict: "ok", reason: "the line is out of the exclude file, and the node is In Service" })]);

const run = (id, state, more) => ({ id, policy: "hdfs-disk-decommission", incident: "5d0e11c2ab349f70", dc: "bj-e-01", node, check: "hdfs-disk", script: "", state, decided: at(100), before: bad, ...more });
const facts = { datanode: "bj-e-hadoop01-11-207:9866", datanode_uuid: "f0a1c2d3-77aa-4b1c-9e0f-1f2a3b4c5d6e", volumes: "/data07", missing_before: "0", low_redundancy_before: "0" };

export const runs = [
  run("a100000000000001", "verifying", { started: at(98), steps: [confirm, guard, act, prove], facts, approved: "li.wei" }),
  run("a200000000000002", "proposed", { deadline: at(-3500) }),
  run("a300000000000003", "undoing", { started: at(98), steps: [confirm, guard, { ...act, state: "no", reason: "the node was not seen by bj-e-hadoop01-11-203 after the refresh", nodes: [took("bj-e-hadoop01-11-203", "FAILED", "event"), act.nodes[1]] }, { ...undone, state: "running", ended: undefined, nodes: [took("bj-e-hadoop01-11-203", "RUNNING", "event")] }], facts, reason: "the name of the host does not resolve" }),
  run("a400000000000004", "succeeded", { started: at(98), ended: at(20), steps: [confirm, guard, act, proven], facts, after: good }),
  run("a500000000000005", "failed", { started: at(98), ended: at(20), steps: [confirm, guard, act, { ...prove, state: "no", ended: at(40), reason: "3 blocks are missing, and were not before" }, undone], facts, after: bad, reason: "3 blocks are missing, and were not before; what was done is taken back" }),
  run("a600000000000006", "refused", { ended: at(99), guard: "storm", reason: "3 incidents of the rule hdfs-disk within 10 min, at most 2 are no storm" }),
  run("a700000000000007", "refused", { ended: at(80), guard: "hdfs-may-leave", reason: "bj-e-hadoop01-11-203 is in safe mode", steps: [confirm, { ...guard, state: "no", reason: "bj-e-hadoop01-11-203 is in safe mode", nodes: [took("bj-e-hadoop01-11-203", "OK", "event", { verdict: "no", reason: "bj-e-hadoop01-11-203 is in safe mode", evidence: { "safe mode": "on" } })] }] }),
  run("a800000000000008", "observed", { ended: at(100) }),
  run("a900000000000009", "running", { policy: "hdfs-disk-ladder", started: at(98), steps: [{ ...confirm, rung: "drop-volume" }, { ...step("guard", "hdfs-volume-guard", "skip", [took(node, "OK", "poll", { verdict: "skip", reason: "the DataNode tolerates no failed volume" })]), rung: "drop-volume" }, { ...guard, rung: "maintenance" }, { ...act, name: "hdfs-maintenance", rung: "maintenance", state: "running", ended: undefined, nodes: [took("bj-e-hadoop01-11-203", "RUNNING", "event")] }] }),
];

const plan = (kind, name, more = {}) => ({ kind, name, script: name, timeout: 60 * sec, within: 0, ...more });
const nn = { on: "service=namenode" };
const main = [plan("confirm", "hdfs-confirm"), plan("guard", "hdfs-may-leave", nn), plan("step", "hdfs-decommission", { ...nn, undo: "hdfs-recommission" }), plan("prove", "hdfs-proven", { ...nn, within: 4 * 3600 * sec })];
const bounds = { target: "role=hadoop", timeout: 300 * sec, verify: 300 * sec, cooldown: 3600 * sec, per_hour: 3, storm: 3, storm_window: 600 * sec, failures: 3, per_day: 24, retry: 300 * sec, max_unavailable: "25%", maintenance: ["Sat 02:00-06:00"], last_hour: 1, failures_in_a_row: 0 };

export const policies = [
  { name: "hdfs-disk-decommission", rule: "hdfs-disk", group: "hdfs", mode: "approve", ...bounds, blocked: "mode: it asks a person first", rungs: [{ name: "main", steps: main }], last: runs[0] },
  { name: "hdfs-disk-ladder", rule: "hdfs-disk", group: "hdfs", mode: "auto", ...bounds, rungs: [
    { name: "drop-volume", steps: [plan("confirm", "hdfs-confirm"), plan("guard", "hdfs-volume-guard"), plan("step", "hdfs-drop-volume", { undo: "hdfs-add-volume" }), plan("prove", "hdfs-proven", { ...nn, within: 600 * sec })] },
    { name: "maintenance", steps: [plan("guard", "hdfs-may-leave", nn), plan("step", "hdfs-maintenance", { ...nn, undo: "hdfs-recommission" }), plan("prove", "hdfs-proven", { ...nn, within: 3600 * sec })] }] },
];

// advance moves what moves, as a drain does.
export function advance() {
  moving.left = moving.left > 0 ? Math.max(0, moving.left - 13) : 320;
  behind.left = Math.max(0, moving.left - 2);
  prove.attempts++;
}
