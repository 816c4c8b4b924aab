import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { ApiError } from "./api";
import { absolute, ago } from "./format";
import { t, word } from "./i18n";
import { useNow } from "./live";
import type { Health } from "./types";

// Every state has a form, a word and a colour, so that none of the three
// carries it alone.
const shapes: Record<string, string> = {
  good: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zm3.6 5.3-4.2 4.6a.8.8 0 0 1-1.2 0L4.4 9.1l1.1-1.1 1.3 1.3 3.6-4z",
  warn: "M8 1.2 15.4 14.4H.6zM7.2 6v4.2h1.6V6zm0 5.3v1.6h1.6v-1.6z",
  bad: "M5 1h6l4 4v6l-4 4H5l-4-4V5zm.6 3.6L4.6 5.6 7 8l-2.4 2.4 1 1L8 9l2.4 2.4 1-1L9 8l2.4-2.4-1-1L8 7z",
  none: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zM7.3 11h1.5v1.5H7.3zM5.6 5.8C5.7 4.4 6.7 3.6 8 3.6c1.5 0 2.5.8 2.5 2.1 0 1-.5 1.6-1.2 2-.4.3-.5.5-.5.9v.8H7.3v-.9c0-.8.3-1.3 1-1.8.5-.3.7-.5.7-.9 0-.5-.4-.8-1-.8-.7 0-1 .4-1.1 1z",
  run: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zM6.4 4.9 11.4 8l-5 3.1z",
  wait: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zM7.3 4h1.5v3.8l2.3 1.5-.8 1.2-3-1.9z",
  stop: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zM5.5 5.5h5v5h-5z",
  doc: "M3 1h6.5L13 4.5V15H3zm6 1.2V5h2.8zM5 7v1.2h6V7zm0 2.5v1.2h6V9.5z",
  note: "M2 2h12v9H8.5L5 14v-3H2zM4 4.5v1.3h8V4.5zm0 2.6v1.3h6V7.1z",
  bell: "M8 1.2a4.2 4.2 0 0 0-4.2 4.2v3L2.3 11v1h11.4v-1l-1.5-2.6v-3A4.2 4.2 0 0 0 8 1.2zM6.4 13a1.7 1.7 0 0 0 3.2 0z",
  tool: "M10.8 1.3a4 4 0 0 0-4.2 5.2L1.6 11.5a1.5 1.5 0 0 0 0 2.1l.8.8a1.5 1.5 0 0 0 2.1 0l5-5a4 4 0 0 0 5.2-4.7L12.3 7 10 6.5 9.3 4l2.4-2.5z",
  person: "M8 1.5a3.2 3.2 0 1 0 0 6.4 3.2 3.2 0 0 0 0-6.4zM2 14.5c0-3.3 2.7-5.4 6-5.4s6 2.1 6 5.4z",
};

export type Shape = keyof typeof shapes;

export function Icon({ shape, tone = "" }: { shape: Shape; tone?: string }) {
  return (
    <svg class={`icon ${tone}`} viewBox="0 0 16 16" aria-hidden="true">
      <path fill-rule="evenodd" d={shapes[shape]!} />
    </svg>
  );
}

const healthShape: Record<Health, [Shape, string]> = {
  passing: ["good", "good"], warning: ["warn", "warn"], critical: ["bad", "bad"], unknown: ["none", "none"],
};

export const healths: Health[] = ["passing", "warning", "critical", "unknown"];

export const rank = (h: Health) => ({ critical: 0, warning: 1, unknown: 2, passing: 3 })[h] ?? 2;

// believed is what a check of Consul's catalog means: one that nobody refreshed
// and one that says so are unknown, and neither is a fault of what is checked.
export function believed<T extends { status: Health; output?: string }>(c: T): T {
  const unknown = (c.status === "critical" && c.output?.startsWith("TTL expired")) || (c.status === "warning" && c.output?.startsWith("UNKNOWN: "));
  return unknown ? { ...c, status: "unknown" } : c;
}

// worst takes silence for worse than success.
export function worst(list: Health[]): Health {
  return (["critical", "warning", "unknown", "passing"] as const).find((h) => list.includes(h)) ?? "unknown";
}

export function HealthMark({ health, quiet }: { health: Health; quiet?: boolean }) {
  const [shape, tone] = healthShape[health] ?? healthShape.unknown;
  return (
    <span class={`mark ${tone}`} title={quiet ? word("health", health) : undefined}>
      <Icon shape={shape} />
      <span class={quiet ? "sr" : ""}>{word("health", health)}</span>
    </span>
  );
}

export interface Part {
  n: number;
  tone: string;
  label: string;
}

// Bar shows how a whole is made up; the numbers beside it are its words.
export function Bar({ parts, label }: { parts: Part[]; label: string }) {
  const shown = parts.filter((p) => p.n > 0);
  const text = shown.map((p) => `${p.label} ${p.n}`).join(", ");
  return (
    <span class="bar" role="img" aria-label={`${label}: ${text || "0"}`} title={text}>
      {shown.map((p) => <span key={p.label} class={`fill ${p.tone}`} style={{ flexGrow: p.n }} />)}
    </span>
  );
}

export function Ago({ at }: { at?: string | undefined }) {
  const now = useNow(3000);
  if (!at) return <span class="dim">–</span>;
  return <time dateTime={at} title={absolute(at)}>{ago(at, now)}</time>;
}

export function Fault({ error }: { error: ApiError }) {
  const offline = error.code === "offline";
  const away = offline || error.code === "unavailable"; // it passes by itself.
  return (
    <div class={away ? "note warn" : "note bad"} role="alert">
      <Icon shape={away ? "warn" : "bad"} tone={away ? "warn" : "bad"} />
      <div>
        <strong>{offline ? t("offline") : word("code", error.code)}</strong>
        <p class="pre">{offline ? t("offline.hint") : error.message}</p>
        {error.problem.hint && <p class="hint">{error.problem.hint}</p>}
        {error.problem.request && error.problem.status >= 500 && <p class="dim small">{t("request", { id: error.problem.request })}</p>}
      </div>
    </div>
  );
}

export function Note({ tone = "info", children }: { tone?: "info" | "warn" | "bad" | "good"; children: ComponentChildren }) {
  const shape: Shape = tone === "good" ? "good" : tone === "bad" ? "bad" : tone === "warn" ? "warn" : "note";
  return <div class={`note ${tone}`}><Icon shape={shape} tone={tone} /><div>{children}</div></div>;
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return <div class="empty"><p class="said">{title}</p>{children}</div>;
}

export function Loading() {
  return <p class="loading" role="status">{t("loading")}</p>;
}

// Section is a block of a page with its own heading.
export function Section({ title, count, side, children }: { title: string; count?: number; side?: ComponentChildren; children: ComponentChildren }) {
  return (
    <section class="block" aria-label={title}>
      <header><h2>{title}{count !== undefined && <span class="count">{count}</span>}</h2>{side && <div class="side">{side}</div>}</header>
      {children}
    </section>
  );
}

// Clipped is foreign text in a fixed pitch, cut to some lines until somebody
// wants all. It is never anything but text.
export function Clipped({ text, lines = 12, label }: { text: string; lines?: number; label?: string }) {
  const [whole, setWhole] = useState(false);
  const clean = plain(text);
  const all = clean.split("\n");
  const most = 4000;
  const cut = !whole && (all.length > lines || clean.length > most);
  const shown = cut ? all.slice(0, lines).join("\n").slice(0, most) : clean;
  return (
    <div class="clipped">
      <pre class="output" tabIndex={0} aria-label={label ?? t("output")}>{shown}</pre>
      {(cut || whole) && (
        <button type="button" class="link" onClick={() => setWhole(!whole)}>
          {cut ? t("show.all", { n: all.length }) : t("show.less")}
        </button>
      )}
    </div>
  );
}

// plain takes terminal colours out and makes control characters visible.
export function plain(s: string): string {
  return s
    .replace(/\u001b\[[0-9;?]*[ -/]*[@-~]/g, "")
    .replace(/\u001b\][^\u0007\u001b]*(\u0007|\u001b\\)/g, "")
    .replace(/\r\n/g, "\n")
    .replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g, (c) => String.fromCharCode(0x2400 + (c === "\u007f" ? 0x21 : c.charCodeAt(0))))
    .replace(/[\u202a-\u202e\u2066-\u2069]/g, "\ufffd")
    .replace(/\n+$/, "");
}

interface DialogProps {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  wide?: boolean;
}

// Dialog is modal while it is mounted. Esc closes it, and nothing below it.
export function Dialog({ title, onClose, children, wide }: DialogProps) {
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const was = document.activeElement as HTMLElement | null;
    box.current?.showModal();
    return () => was?.focus?.();
  }, []);
  return (
    <dialog ref={box} class={wide ? "wide" : ""} aria-label={title}
      onCancel={(e) => { e.preventDefault(); onClose(); }}
      onClick={(e) => { if (e.target === box.current) onClose(); }}>
      <div class="inside">
        <header><h2>{title}</h2><button type="button" class="plain" aria-label={t("close")} onClick={onClose}>✕</button></header>
        {children}
      </div>
    </dialog>
  );
}

export function CopyButton({ text, label }: { text: string; label?: string }) {
  const [done, set] = useState(false);
  useEffect(() => {
    if (!done) return;
    const timer = setTimeout(() => set(false), 1500);
    return () => clearTimeout(timer);
  }, [done]);
  return (
    <button type="button" class="plain small" onClick={() => void navigator.clipboard?.writeText(text).then(() => set(true))}>
      {done ? t("copied") : (label ?? t("copy"))}
    </button>
  );
}
