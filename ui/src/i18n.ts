import { en } from "./en";
import { zh } from "./zh";

export type Key = keyof typeof en;
export type Lang = "en" | "zh";

const stored = "alps.lang";
let lang: Lang = initial();

function initial(): Lang {
  const kept = localStorage.getItem(stored);
  if (kept === "en" || kept === "zh") return kept;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

export const language = () => lang;

export function setLanguage(to: Lang) {
  lang = to;
  localStorage.setItem(stored, to);
  applyLanguage();
  window.dispatchEvent(new Event("alps:look"));
}

export function applyLanguage() {
  document.documentElement.lang = lang === "zh" ? "zh-CN" : "en";
}

type Values = Record<string, string | number>;

// t returns a text of the page. "one node|{n} nodes" chooses by n.
export function t(key: Key, values: Values = {}): string {
  let s: string = lang === "zh" ? zh[key] : en[key];
  const cut = s.indexOf("|");
  if (cut >= 0) s = values["n"] === 1 ? s.slice(0, cut) : s.slice(cut + 1);
  return s.replace(/\{(\w+)\}/g, (all, name: string) => {
    const v = values[name];
    return v === undefined ? all : typeof v === "number" ? number(v) : v;
  });
}

// word translates a word of the API, and leaves one that it does not know.
export function word(prefix: "kind" | "stepok" | "stepno" | "stepstate" | "woke" | "health" | "agent" | "member" | "incident" | "severity" | "run" | "mode" | "event" | "phase" | "code" | "state", w: string): string {
  const key = `${prefix}.${w}`;
  return key in en ? t(key as Key) : w;
}

export const number = (n: number) => n.toLocaleString(lang === "zh" ? "zh-CN" : "en-US");
