import { go, href } from "./router";
import { nextTheme } from "./theme";

// Keys work where nobody types. g and then a letter leads to a page; the rest
// is about what is on it.

export const pagesByKey: Record<string, string> = {
  s: "services", n: "nodes", k: "kv", c: "acl", j: "jobs", a: "alerts",
};

// rowMoved is heard by the list on the page.
export const rowMoved = "alps:row";

let g = 0;

function typing(e: KeyboardEvent) {
  const el = e.target as HTMLElement;
  return el.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(el.tagName);
}

function press(e: KeyboardEvent, help: () => void): boolean {
  const jump = g && Date.now() - g < 1500 ? pagesByKey[e.key] : undefined;
  g = 0;
  if (jump) {
    go(href(jump));
    return true;
  }
  switch (e.key) {
    case "g":
      g = Date.now();
      return true;
    case "/": {
      const box = document.querySelector<HTMLInputElement>("[data-search]");
      box?.focus();
      box?.select();
      return !!box;
    }
    case "j":
    case "k":
      window.dispatchEvent(new CustomEvent(rowMoved, { detail: e.key === "j" ? 1 : -1 }));
      return true;
    case "e": {
      const button = document.querySelector<HTMLButtonElement>("[data-expand]");
      button?.click();
      return !!button;
    }
    case "t":
      nextTheme();
      return true;
    case "?":
      help();
      return true;
  }
  return false;
}

export function listenToKeys(help: () => void) {
  const f = (e: KeyboardEvent) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.isComposing) return;
    if (document.querySelector("dialog[open]")) return;
    if (typing(e)) {
      if (e.key === "Escape") (e.target as HTMLElement).blur();
      return;
    }
    if (press(e, help)) e.preventDefault();
  };
  document.addEventListener("keydown", f);
  return () => document.removeEventListener("keydown", f);
}
