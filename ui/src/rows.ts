import { useEffect } from "preact/hooks";
import { rowMoved } from "./keys";

// useRowKeys lets j and k walk over the rows of a page that has no windowed
// list: each has data-row and one link.
export function useRowKeys() {
  useEffect(() => {
    const move = (e: Event) => {
      const rows = [...document.querySelectorAll<HTMLElement>("main [data-row]")];
      const from = rows.findIndex((r) => r.contains(document.activeElement));
      const to = rows[Math.max(0, Math.min(rows.length - 1, from + (e as CustomEvent<number>).detail))];
      to?.querySelector<HTMLElement>("a")?.focus();
    };
    window.addEventListener(rowMoved, move);
    return () => window.removeEventListener(rowMoved, move);
  }, []);
}
