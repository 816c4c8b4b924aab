import { number, t } from "./i18n";
import type { Nanos } from "./types";

// absolute shows a time in the reader's zone, and says which that is.
export function absolute(at: string | number): string {
  const d = new Date(at);
  const two = (n: number) => String(n).padStart(2, "0");
  const off = -d.getTimezoneOffset();
  const zone = `UTC${off < 0 ? "-" : "+"}${Math.floor(Math.abs(off) / 60)}${off % 60 ? ":" + two(Math.abs(off) % 60) : ""}`;
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(d)} ${off ? zone : "UTC"}`;
}

export function clock(at: string | number | Date): string {
  return new Date(at).toLocaleTimeString("en-GB", { hour12: false });
}

// span is a length of time in at most two units.
export function span(ms: number): string {
  if (ms < 1000) return t("time.ms", { n: Math.round(ms) });
  const s = ms / 1000;
  if (s < 10) return t("time.s", { n: Math.round(s * 10) / 10 });
  if (s < 60) return t("time.s", { n: Math.floor(s) });
  const parts: [number, "time.d" | "time.h" | "time.m" | "time.s"][] = [
    [Math.floor(s / 86400), "time.d"], [Math.floor(s / 3600) % 24, "time.h"],
    [Math.floor(s / 60) % 60, "time.m"], [Math.floor(s) % 60, "time.s"],
  ];
  const first = parts.findIndex(([n]) => n > 0);
  return parts.slice(first, first + 2).filter(([n]) => n > 0).map(([n, k]) => t(k, { n })).join(" ");
}

export const nanos = (n: Nanos) => (n < 1e6 ? t("time.less") : span(n / 1e6));

export function ago(at: string | number, now: number): string {
  const ms = now - new Date(at).getTime();
  if (ms < 2000) return t("time.now");
  if (ms < 60_000) return t("time.ago", { span: t("time.s", { n: Math.floor(ms / 1000) }) });
  if (ms < 3600_000) return t("time.ago", { span: t("time.m", { n: Math.floor(ms / 60_000) }) });
  return t("time.ago", { span: span(Math.floor(ms / 60_000) * 60_000) });
}

export function bytes(n: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) {
    n /= 1024;
    i++;
  }
  return `${i === 0 || n >= 100 ? Math.round(n) : Math.round(n * 10) / 10} ${units[i]}`;
}

export function ms(n: number): string {
  return `${n < 10 ? n.toFixed(2) : n < 100 ? n.toFixed(1) : number(Math.round(n))} ms`;
}

// quoted puts a value into a query over nodes.
export const quoted = (s: string) => `"${s.replace(/\\/g, "\\\\").replace(/"/g, '\\"')}"`;
