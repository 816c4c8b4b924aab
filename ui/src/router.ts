import { useEffect, useState } from "preact/hooks";

// The address is the state: what is chosen, filtered and expanded stands in
// it, so that a link shows a colleague the same, and Back goes back.

export const base = "/ui";

export interface Place {
  page: string; // services, nodes, kv, acl, jobs, alerts, remedy
  id: string; // what of it; empty for the list.
  query: URLSearchParams;
}

export function place(): Place {
  const parts = location.pathname.replace(/^\/ui\/?/, "").split("/").filter(Boolean);
  return {
    page: parts[0] ?? "services",
    id: parts.slice(1).map(decode).join("/"),
    query: new URLSearchParams(location.search),
  };
}

function decode(s: string) {
  try {
    return decodeURIComponent(s);
  } catch {
    return s;
  }
}

// href leads to a page in the datacenter that is looked at.
export function href(page: string, id = "", query: Record<string, string> = {}) {
  const dc = new URLSearchParams(location.search).get("dc") ?? "";
  const q = new URLSearchParams({ dc, ...query });
  for (const [k, v] of [...q]) if (v === "") q.delete(k);
  const text = q.toString();
  return `${base}/${page}${id ? "/" + encodeURIComponent(id) : ""}${text ? "?" + text : ""}`;
}

const changed = () => window.dispatchEvent(new Event("alps:place"));

export function go(to: string, replace = false) {
  if (to === location.pathname + location.search) return;
  if (replace) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  changed();
}

// setQuery changes some of the address's query. Typing replaces the entry: a
// filter is one step of Back, not one for each letter.
export function setQuery(change: Record<string, string>, replace = true) {
  const q = new URLSearchParams(location.search);
  for (const [k, v] of Object.entries(change)) {
    if (v) q.set(k, v);
    else q.delete(k);
  }
  const text = q.toString();
  go(location.pathname + (text ? "?" + text : ""), replace);
}

export function usePlace(): Place {
  const [at, set] = useState(place);
  useEffect(() => {
    const f = () => set(place());
    window.addEventListener("alps:place", f);
    window.addEventListener("popstate", f);
    return () => {
      window.removeEventListener("alps:place", f);
      window.removeEventListener("popstate", f);
    };
  }, []);
  return at;
}

// catchLinks lets plain links to pages be plain links: opened in place when
// they are clicked, by the browser when they are clicked otherwise.
export function catchLinks() {
  document.addEventListener("click", (e) => {
    if (e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
    const a = (e.target as Element).closest("a");
    if (!a || a.target || a.hasAttribute("download") || a.origin !== location.origin || !a.pathname.startsWith(base + "/")) return;
    e.preventDefault();
    go(a.pathname + a.search);
  });
}

// here is the query of the address, to be carried on by a link.
export const here = (): Record<string, string> => Object.fromEntries(new URLSearchParams(location.search));
