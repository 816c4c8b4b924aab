import assert from "node:assert/strict";
import { test } from "node:test";
import { base64Of, bytesOf, textOf, url } from "../src/api";
import { bytes, quoted, span } from "../src/format";
import { setLanguage, t, word } from "../src/i18n";
import { about } from "../src/live";
import { progressOf, remaining } from "../src/progress";
import { splitWords } from "../src/shellwords";
import { parser } from "../src/stream";
import type { RemedyStep } from "../src/types";
import { believed, plain, worst } from "../src/widgets";

// random is a generator with a seed, so that a failure can be run again.
function random(seed: number) {
  return (n: number) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed % n;
  };
}

test("a line is cut into words as a shell cuts it", () => {
  const cases: [string, string[] | undefined][] = [
    ["", []],
    ["  ", []],
    ["a b", ["a", "b"]],
    ["'a b' c", ["a b", "c"]],
    ['"a \\"b\\" \\n" c', ['a "b" \\n', "c"]],
    ["''", [""]],
    ["a'b'\"c\"", ["abc"]],
    ["a\\ b", ["a b"]],
    ["$HOME *", ["$HOME", "*"]],
    ["'open", undefined],
    ['"', undefined],
    ["\\", ["\\"]],
  ];
  for (const [line, want] of cases) assert.deepEqual(splitWords(line), want, line);
});

test("words that are quoted come back as they were", () => {
  const pick = random(1);
  for (let i = 0; i < 2000; i++) {
    const words = Array.from({ length: pick(5) }, () => Array.from({ length: pick(8) }, () => "ab '\"\\$*\n"[pick(9)]).join(""));
    const line = words.map((w) => `'${w.replace(/'/g, "'\\''")}'`).join(" ");
    assert.deepEqual(splitWords(line), words, line);
  }
});

test("a stream of events reads the same however it is cut", () => {
  const text = ": hello\n\nid: b-1\ndata: {\"type\":\"reset\"}\n\n: still here\nid: b-2\n\nid: b-3\r\ndata: {\"type\":\r\ndata: \"x\"}\r\n\r\nevent: odd\nunknown\ndata:{\"type\":\"y\"}\n\n";
  const want = [["b-1", '{"type":"reset"}'], ["b-2", ""], ["b-3", '{"type":\n"x"}'], ["", '{"type":"y"}']];
  const read = (pieces: string[]) => {
    const got: string[][] = [];
    const feed = parser((id, data) => got.push([id, data]));
    pieces.forEach(feed);
    return got;
  };
  assert.deepEqual(read([text]), want);
  for (let i = 1; i < text.length; i++) {
    // A break between CR and LF is one line end and not two.
    assert.deepEqual(read([text.slice(0, i), text.slice(i)]), want, `cut at ${i}`);
  }
  assert.deepEqual(read([...text]), want);
});

test("an event is about its topic, what lies below it, and its node", () => {
  const e = (topic: string, type = "changed") => ({ id: "", topic, type });
  assert.equal(about(e("job/1"), ["job"]), true);
  assert.equal(about(e("job/12"), ["job/1"]), false);
  assert.equal(about(e("jobs"), ["job"]), false);
  assert.equal(about(e("node"), ["check", "node"]), true);
  assert.equal(about({ ...e("check"), node: "a" }, ["check@a"]), true);
  assert.equal(about({ ...e("check"), node: "b" }, ["check@a"]), false);
  assert.equal(about(e("check"), ["check@a"]), true);
  assert.equal(about({ ...e("check/x"), node: "a" }, ["check@a"]), true);
  assert.equal(about({ ...e("node"), node: "a" }, ["check@a"]), false);
  assert.equal(about({ id: "", type: "reset" }, ["kv"]), true);
});

test("bytes survive base64, and only text is text", () => {
  const pick = random(2);
  for (let i = 0; i < 200; i++) {
    const b = Uint8Array.from({ length: pick(70_000) }, () => pick(256));
    assert.deepEqual(bytesOf(base64Of(b)), b);
  }
  const encode = (s: string) => new TextEncoder().encode(s);
  assert.equal(textOf(encode("a\n\t灰度\u001b[31m")), "a\n\t灰度\u001b[31m");
  assert.equal(textOf(encode("\ufeffx")), "\ufeffx");
  assert.equal(textOf(Uint8Array.from([0xff])), undefined);
  assert.equal(textOf(encode("a\u0000b")), undefined);
});

test("foreign output shows as what it is", () => {
  assert.equal(plain("\u001b[1;31mred\u001b[0m\r\nx\n\n"), "red\nx");
  assert.equal(plain("\u001b]0;title\u0007x"), "x");
  assert.equal(plain("a\u0007\u001b"), "a\u2407\u241b");
  assert.equal(plain("a\u202eb"), "a\ufffdb");
  assert.equal(plain("<b>x</b>"), "<b>x</b>");
});

test("silence is no success", () => {
  assert.equal(worst([]), "unknown");
  assert.equal(worst(["passing", "unknown"]), "unknown");
  assert.equal(worst(["passing", "warning", "unknown"]), "warning");
  assert.equal(worst(["passing", "critical"]), "critical");
  assert.equal(worst(["passing"]), "passing");
  assert.equal(believed({ status: "critical", output: "TTL expired" }).status, "unknown");
  assert.equal(believed({ status: "warning", output: "UNKNOWN: cannot ask" }).status, "unknown");
  assert.equal(believed({ status: "critical", output: "down" }).status, "critical");
});

test("numbers and lengths of time are read by people", () => {
  setLanguage("en");
  assert.equal(span(90_061_000), "1 day 1 h");
  assert.equal(span(61_000), "1 min 1 s");
  assert.equal(span(3_600_000), "1 h");
  assert.equal(span(1500), "1.5 s");
  assert.equal(span(12), "12 ms");
  assert.equal(bytes(0), "0 B");
  assert.equal(bytes(1536), "1.5 KiB");
  assert.equal(bytes(512 << 10), "512 KiB");
  assert.equal(t("n.nodes", { n: 1 }), "1 node");
  assert.equal(t("n.nodes", { n: 10000 }), "10,000 nodes");
  assert.equal(word("health", "passing"), "passing");
  setLanguage("zh");
  assert.equal(t("n.nodes", { n: 1 }), "1 个节点");
  assert.equal(word("health", "passing"), "正常");
  assert.equal(word("health", "odd"), "odd");
  setLanguage("en");
});

test("addresses and queries quote what they are given", () => {
  assert.equal(url("/v1/kv", { prefix: "a b/&", dc: "" }), "/v1/kv?prefix=a+b%2F%26");
  assert.equal(url("/v1/incidents", { status: ["open", "acked"] }), "/v1/incidents?status=open&status=acked");
  assert.equal(url("/v1/nodes"), "/v1/nodes");
  assert.equal(quoted('a"b\\'), '"a\\"b\\\\"');
});

test("progress is of the newest step, and of the node that has the most before it", () => {
  const step = (name: string, ...left: (number | undefined)[]): RemedyStep => ({
    rung: "main", kind: "prove", name, script: name, job: "", attempts: 1, state: "waiting", started: "",
    nodes: left.map((n) => ({ node: "n", id: "", ...(n !== undefined && { answer: { verdict: "wait", progress: { left: n } } }) })),
  });
  const cases: [RemedyStep[], number | undefined][] = [
    [[], undefined],
    [[{ ...step("a"), nodes: null }], undefined],
    [[step("a", 3, 7, undefined, 5)], 7],
    [[step("a", 9), step("b", 2)], 2],
    [[step("a", 9), step("b", undefined)], 9],
    [[step("a", 9), step("b", 0)], 0],
  ];
  for (const [steps, left] of cases) assert.equal(progressOf(steps)?.left, left);
});

test("an end is foreseen where the rate is known, and not for ever", () => {
  assert.equal(remaining({ left: 120, rate: 13.7 }), 9000);
  assert.equal(remaining({ left: 120 }), undefined);
  assert.equal(remaining({ left: 0, rate: 2 }), undefined);
  assert.equal(remaining({ left: 1e15, rate: 1e-9 }), undefined);
});
