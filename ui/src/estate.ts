import { useEffect, useState } from "preact/hooks";
import { ApiError, get, seg, url } from "./api";
import { quoted } from "./format";
import { about } from "./live";
import { onEvent } from "./stream";
import type { Check, Health, Node, NodeList } from "./types";
import { believed, rank, worst } from "./widgets";

// Line is what a list keeps of a node: ten thousand of them with their facts
// and outputs would fill a tab.
export interface Line {
  name: string;
  address: string;
  member: string;
  agent: string;
  role: string;
  health: Health;
  counts: Record<Health, number>;
  checks: Pick<Check, "id" | "name" | "status">[];
}

function lineOf(n: Node): Line {
  const checks = (n.checks ?? []).map(believed).map(({ id, name, status }) => ({ id, name, status }))
    .sort((a, b) => rank(a.status) - rank(b.status));
  const counts = { passing: 0, warning: 0, critical: 0, unknown: 0 };
  for (const c of checks) counts[c.status] = (counts[c.status] ?? 0) + 1;
  return {
    name: n.name, address: n.address, member: n.status, agent: n.agent, role: n.naming?.role ?? "",
    health: worst(checks.map((c) => c.status)), counts, checks,
  };
}

export interface Nodes {
  lines: Line[];
  loading: boolean;
  total: number;
  error?: ApiError;
}

const page = 1000;
const single = 20; // changed nodes that are read one by one; more are read as a list.

// useNodes keeps the nodes of a datacenter. They come in pages, which are shown
// as they come; a change of few nodes reads only these.
export function useNodes(dc: string): Nodes {
  const [state, set] = useState<Nodes>({ lines: [], loading: true, total: 0 });
  useEffect(() => {
    const stop = new AbortController();
    let have = new Map<string, Line>();
    let total = 0;
    let complete = false;
    let timer = 0;
    let busy = false;
    let all = false;
    let cost = 1000;
    const changed = new Set<string>();

    const show = (loading: boolean, from = have) =>
      set({ lines: [...from.values()], loading, total: Math.max(total, from.size) });

    const readAll = async () => {
      const began = Date.now();
      const fresh = new Map<string, Line>();
      let after: string | undefined = "";
      while (after !== undefined) {
        const list: NodeList = await get<NodeList>(url("/v1/nodes", { q: dc ? `dc=${quoted(dc)}` : "", after, limit: page }), stop.signal);
        list.nodes.forEach((n) => fresh.set(n.name, lineOf(n)));
        total = list.total;
        after = list.next;
        if (!complete && after !== undefined) show(true, fresh);
      }
      have = fresh;
      complete = true;
      cost = Math.max(1000, 5 * (Date.now() - began)); // never more than a fifth of the time.
    };
    const readOne = async (name: string) => {
      try {
        const n = await get<Node>(`/v1/nodes/${seg(name)}`, stop.signal);
        if (!dc || n.dc === dc) have.set(n.name, lineOf(n));
      } catch (e) {
        if (!(e instanceof ApiError) || e.code !== "not_found") throw e;
        have.delete(name);
      }
    };
    const work = async () => {
      timer = 0;
      busy = true;
      const names = [...changed];
      const whole = all || !complete || names.length > single;
      changed.clear();
      all = false;
      try {
        if (whole) await readAll();
        else await Promise.all(names.map(readOne));
        if (!stop.signal.aborted) show(false);
      } catch (e) {
        if (!stop.signal.aborted) set((s) => ({ ...s, loading: false, error: e as ApiError }));
      } finally {
        busy = false;
        plan();
      }
    };
    const plan = () => {
      if (stop.signal.aborted || timer || busy || document.hidden || !(all || changed.size)) return;
      timer = window.setTimeout(() => void work(), all ? cost : 1000);
    };
    const off = onEvent((e) => {
      if (!about(e, ["node", "check"])) return;
      if (e.node && e.type !== "reset") changed.add(e.node);
      else all = true;
      plan();
    });
    document.addEventListener("visibilitychange", plan);
    set({ lines: [], loading: true, total: 0 });
    void work();
    return () => {
      stop.abort();
      clearTimeout(timer);
      off();
      document.removeEventListener("visibilitychange", plan);
    };
  }, [dc]);
  return state;
}
