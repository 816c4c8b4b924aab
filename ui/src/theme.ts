export type Theme = "system" | "light" | "dark";

const stored = "alps.theme";

export function theme(): Theme {
  const t = localStorage.getItem(stored);
  return t === "light" || t === "dark" ? t : "system";
}

export function setTheme(to: Theme) {
  localStorage.setItem(stored, to);
  applyTheme();
  window.dispatchEvent(new Event("alps:look"));
}

export function nextTheme() {
  const order: Theme[] = ["system", "light", "dark"];
  setTheme(order[(order.indexOf(theme()) + 1) % order.length]!);
}

export function applyTheme() {
  const t = theme();
  if (t === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = t;
}
