import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError } from "./api";
import { onEvent } from "./stream";
import type { StreamEvent } from "./types";

export interface Live<T> {
  data?: T;
  error?: ApiError;
  loading: boolean;
  reload: () => void;
}

// about reports whether an event is a reason to read again what hangs on the
// topics: "job" stands for "job/…" too, and "check@web01" for events of checks
// that are about that node or about none in particular.
export function about(e: StreamEvent, topics: string[]) {
  if (e.type === "reset") return true;
  const t = e.topic ?? "";
  return topics.some((want) => {
    const at = want.indexOf("@");
    const topic = at < 0 ? want : want.slice(0, at);
    return (t === topic || t.startsWith(topic + "/")) && (at < 0 || !e.node || e.node === want.slice(at + 1));
  });
}

// useLive reads a document, and reads it again after events of its topics: at
// once, and then at most once per wait, and for at most a fifth of the time,
// however many come: a storm of events costs the server a bounded share. While it is read again,
// and when that fails, the last document stays. A change of key drops it.
export function useLive<T>(key: string, read: (signal: AbortSignal) => Promise<T>, topics: string[], wait = 1000): Live<T> {
  const [state, set] = useState<{ key: string; data?: T; error?: ApiError; loading: boolean }>({ key, loading: true });
  const latest = useRef(read);
  latest.current = read;
  const again = useRef<() => void>(() => undefined);
  const joined = topics.join("\n");

  useEffect(() => {
    const stop = new AbortController();
    let timer = 0;
    let running = false;
    let dirty = false;
    let last = 0;
    let cost = 0;
    const go = async () => {
      timer = 0;
      running = true;
      dirty = false;
      last = Date.now();
      try {
        const data = await latest.current(stop.signal);
        cost = 5 * (Date.now() - last);
        if (!stop.signal.aborted) set({ key, data, loading: false });
      } catch (e) {
        if (stop.signal.aborted) return;
        const error = e instanceof ApiError ? e : new ApiError({ status: 0, code: "internal", detail: String(e) });
        set((s) => ({ key, ...(s.key === key && s.data !== undefined ? { data: s.data } : {}), error, loading: false }));
      } finally {
        running = false;
        if (dirty && !stop.signal.aborted) touch();
      }
    };
    const touch = () => {
      dirty = true;
      if (running || timer || document.hidden) return;
      const took = Math.max(Math.max(wait, cost) - (Date.now() - last), 0);
      timer = window.setTimeout(() => void go(), took);
    };
    again.current = () => {
      last = 0;
      touch();
    };
    const shown = () => {
      if (dirty) touch();
    };
    const off = onEvent((e) => {
      if (about(e, joined.split("\n"))) touch();
    });
    document.addEventListener("visibilitychange", shown);
    set((s) => (s.key === key ? s : { key, loading: true }));
    void go();
    return () => {
      stop.abort();
      clearTimeout(timer);
      off();
      document.removeEventListener("visibilitychange", shown);
    };
  }, [key, joined, wait]);

  const now = state.key === key ? state : { key, loading: true };
  return { ...now, reload: () => again.current() };
}

// usePoll reads again what nothing tells the changes of, while somebody looks.
export function usePoll(reload: () => void, every = 15_000) {
  const latest = useRef(reload);
  latest.current = reload;
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) latest.current();
    }, every);
    return () => clearInterval(timer);
  }, [every]);
}

// useNow ticks while a page shows how long ago something was.
export function useNow(every = 10_000) {
  const [now, set] = useState(Date.now());
  useEffect(() => {
    const t = setInterval(() => set(Date.now()), every);
    return () => clearInterval(t);
  }, [every]);
  return now;
}
