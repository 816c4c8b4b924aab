import { useMemo, useState } from "preact/hooks";
import { get, seg } from "./api";
import { ms } from "./format";
import { t } from "./i18n";
import { useLive } from "./live";
import { href } from "./router";
import type { Tomography } from "./types";
import { Empty, Fault, Section } from "./widgets";

const radius = 116;
const middle = 150;
const drawn = 360; // peers in the picture; the table has all.

type Peer = Tomography["peers"][number];

export function TomographyBlock({ name }: { name: string }) {
  const path = `/v1/nodes/${seg(name)}/rtt`;
  const { data, error } = useLive(path, (s) => get<Tomography>(path, s), [`node@${name}`], 30_000);
  return (
    <Section title={t("tomography")} {...(data ? { count: data.peers.length } : {})}>
      {error && <Fault error={error} />}
      {data && (data.peers.length === 0 ? <Empty title={t("tomography.none")} /> : <Both data={data} name={name} />)}
    </Section>
  );
}

function Both({ data, name }: { data: Tomography; name: string }) {
  const [at, point] = useState("");
  return (
    <div class="tomography">
      <Picture data={data} name={name} at={at} point={point} />
      <Table peers={data.peers} at={at} point={point} />
    </div>
  );
}

// sample keeps the nearest, the farthest and an even choice between them.
function sample(peers: Peer[]): Peer[] {
  if (peers.length <= drawn) return peers;
  return Array.from({ length: drawn }, (_, i) => peers[Math.round((i * (peers.length - 1)) / (drawn - 1))]!);
}

interface Pointing {
  at: string;
  point: (node: string) => void;
}

// Picture puts the node in the middle and the others around it, nearest first,
// as far out as the network has them.
function Picture({ data, name, at, point }: { data: Tomography; name: string } & Pointing) {
  const scale = (v: number) => (data.max > 0 ? 14 + (v / data.max) * (radius - 14) : 14);
  const dots = useMemo(() => sample(data.peers), [data]);
  const rings = [
    { k: "min", v: data.min, text: t("rtt.min") }, { k: "median", v: data.median, text: t("rtt.median") }, { k: "max", v: data.max, text: t("rtt.max") },
  ];
  const shown = data.peers.find((p) => p.node === at);
  return (
    <figure>
      <svg viewBox="0 0 300 300" role="img" aria-label={t("tomography.alt", { name, min: ms(data.min), median: ms(data.median), max: ms(data.max) })}>
        {[...rings].reverse().map((r) => <circle key={r.k} class={`ring ${r.k}`} cx={middle} cy={middle} r={scale(r.v)} />)}
        {dots.map((p, i) => {
          const angle = (i / dots.length) * 2 * Math.PI - Math.PI / 2;
          const x = middle + Math.cos(angle) * scale(p.ms);
          const y = middle + Math.sin(angle) * scale(p.ms);
          return (
            <g key={p.node} class={p.node === at ? "peer at" : "peer"} onPointerEnter={() => point(p.node)} onPointerLeave={() => point("")}>
              <line x1={middle} y1={middle} x2={x} y2={y} />
              <circle cx={x} cy={y} r={p.node === at ? 5 : dots.length > 80 ? 2 : 3.5} />
            </g>
          );
        })}
        <circle class="self" cx={middle} cy={middle} r="5" />
      </svg>
      <figcaption aria-live="polite">
        {shown ? <><b>{shown.node}</b> <span class="num">{ms(shown.ms)}</span></>
          : rings.map((r) => <span key={r.k} class={`ringword ${r.k}`}>{r.text} <b class="num">{ms(r.v)}</b></span>)}
      </figcaption>
    </figure>
  );
}

function Table({ peers, at, point }: { peers: Peer[] } & Pointing) {
  const [by, sort] = useState<{ col: "node" | "ms"; down: boolean }>({ col: "ms", down: false });
  const [all, showAll] = useState(false);
  const rows = useMemo(() => {
    const out = [...peers].sort((a, b) => (by.col === "ms" ? a.ms - b.ms : a.node.localeCompare(b.node)));
    return by.down ? out.reverse() : out;
  }, [peers, by]);
  const head = (col: "node" | "ms", text: string) => (
    <th aria-sort={by.col === col ? (by.down ? "descending" : "ascending") : "none"} class={col === "ms" ? "num" : ""}>
      <button type="button" class="sort" onClick={() => sort({ col, down: by.col === col && !by.down })}>{text}<span aria-hidden="true">{by.col === col ? (by.down ? " ↓" : " ↑") : ""}</span></button>
    </th>
  );
  const shown = all ? rows : rows.slice(0, 12);
  return (
    <div class="twin">
      <table>
        <thead><tr>{head("node", t("col.node"))}{head("ms", t("col.rtt"))}</tr></thead>
        <tbody>
          {shown.map((p) => (
            <tr key={p.node} class={p.node === at ? "at" : ""} onPointerEnter={() => point(p.node)} onPointerLeave={() => point("")}>
              <td><a href={href("nodes", p.node)} onFocus={() => point(p.node)} onBlur={() => point("")}>{p.node}</a></td>
              <td class="num">{ms(p.ms)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > 12 && <button type="button" class="link" onClick={() => showAll(!all)}>{all ? t("show.less") : t("show.all.nodes", { n: rows.length })}</button>}
    </div>
  );
}
