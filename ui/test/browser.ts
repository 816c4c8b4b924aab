// As much of a browser as the tested functions touch.
const kept = new Map<string, string>();
const storage = { getItem: (k: string) => kept.get(k) ?? null, setItem: (k: string, v: string) => void kept.set(k, v), removeItem: (k: string) => void kept.delete(k) };
const events = new EventTarget();
Object.assign(globalThis, {
  localStorage: storage,
  sessionStorage: storage,
  window: Object.assign(events, { setTimeout, clearTimeout }),
  document: { documentElement: { lang: "", dataset: {} } },
  location: { pathname: "/ui/nodes", search: "", hash: "" },
});
Object.defineProperty(globalThis, "navigator", { value: { language: "en-US" }, configurable: true });
