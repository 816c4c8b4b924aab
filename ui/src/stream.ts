import { ApiError, request, token } from "./api";
import type { StreamEvent } from "./types";

// One stream of events for the whole tab. EventSource cannot send a token, so
// the format is read here. The rule of the server: after a reset read the
// state, every other event is a change to it; what was missed comes again by
// Last-Event-ID.

const silence = 45_000; // the server says something every 15 s.
const hiddenFor = 5_000;

type Listener = (e: StreamEvent) => void;
const listeners = new Set<Listener>();
const watchers = new Set<() => void>();

let lastID = "";
let lostAt = 0; // when the stream was lost; 0: it runs, or has not begun.
let current: AbortController | undefined;
let generation = 0;

export const staleSince = () => lostAt;

export function onEvent(f: Listener) {
  listeners.add(f);
  return () => void listeners.delete(f);
}

export function onStale(f: () => void) {
  watchers.add(f);
  return () => void watchers.delete(f);
}

function lost(at: number) {
  if ((lostAt === 0) === (at === 0)) return;
  lostAt = at;
  watchers.forEach((f) => f());
}

// parser takes the stream piece by piece and calls f for each whole block.
export function parser(f: (id: string, data: string) => void) {
  let rest = "";
  let id = "";
  let data: string[] = [];
  return (piece: string) => {
    const lines = (rest + piece).split(/\r\n|\n/);
    rest = lines.pop()!;
    for (const line of lines) {
      if (line === "") {
        if (id || data.length > 0) f(id, data.join("\n"));
        id = "";
        data = [];
        continue;
      }
      const colon = line.indexOf(":");
      if (colon <= 0) continue;
      const value = line.slice(colon + 1).replace(/^ /, "");
      if (line.startsWith("id:")) id = value;
      else if (line.startsWith("data:")) data.push(value);
    }
  };
}

function block(id: string, data: string) {
  if (id) lastID = id;
  if (!data) return;
  const e = { ...(JSON.parse(data) as StreamEvent), id };
  listeners.forEach((f) => f(e));
}

async function once(stop: AbortController) {
  const address = lastID ? "/v1/events?last_event_id=" + encodeURIComponent(lastID) : "/v1/events";
  const res = await request("GET", address, undefined, stop.signal);
  lost(0);
  const reader = res.body!.pipeThrough(new TextDecoderStream()).getReader();
  const feed = parser(block);
  let timer = 0;
  try {
    for (;;) {
      clearTimeout(timer);
      timer = window.setTimeout(() => stop.abort(), silence);
      const { done, value } = await reader.read();
      if (done) return;
      feed(value);
    }
  } finally {
    clearTimeout(timer);
  }
}

async function follow(mine: number) {
  let pause = 500;
  while (mine === generation) {
    const stop = (current = new AbortController());
    const began = Date.now();
    try {
      await once(stop);
    } catch (e) {
      if (e instanceof ApiError && e.code === "unauthorized") return;
    }
    if (mine !== generation) return;
    lost(Date.now());
    pause = Date.now() - began > 10_000 ? 500 : Math.min(pause * 1.7, 8_000);
    await new Promise((r) => setTimeout(r, pause * (0.7 + 0.6 * Math.random())));
  }
}

function stop() {
  generation++;
  current?.abort();
}

function start() {
  stop();
  if (token()) void follow(generation);
}

// run follows the stream while there is a token and somebody looks: a hidden
// tab lets go of its connection and resumes where it was.
export function run() {
  let timer = 0;
  window.addEventListener("alps:token", () => {
    lastID = "";
    lost(0);
    start();
  });
  // The browser often knows before the stream falls silent.
  window.addEventListener("offline", () => {
    stop();
    if (token()) lost(Date.now());
  });
  window.addEventListener("online", start);
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (document.hidden) timer = window.setTimeout(stop, hiddenFor);
    else if (timer) {
      timer = 0;
      start();
    }
  });
  start();
}
