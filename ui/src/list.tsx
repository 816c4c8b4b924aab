import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { rowMoved } from "./keys";

interface Props<T> {
  label: string;
  items: T[];
  keyOf: (item: T) => string;
  heightOf: (item: T) => number; // pixels; the same item always gives the same.
  selected: string;
  row: (item: T) => ComponentChildren; // holds the one link of the row.
}

const over = 400; // pixels that are drawn beyond what is seen.

// List draws only the rows that are seen: ten thousand cost what fifty cost.
// Rows may differ in height, which is known before they are drawn.
export function List<T>({ label, items, keyOf, heightOf, selected, row }: Props<T>) {
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 800 });
  const wanted = useRef(-1);

  const offsets = useMemo(() => {
    const out = new Float64Array(items.length + 1);
    items.forEach((item, i) => (out[i + 1] = out[i]! + heightOf(item)));
    return out;
  }, [items, heightOf]);

  useLayoutEffect(() => {
    const el = box.current!;
    const look = () => setView({ top: el.scrollTop, height: el.clientHeight });
    const size = new ResizeObserver(look);
    size.observe(el);
    el.addEventListener("scroll", look, { passive: true });
    look();
    return () => {
      size.disconnect();
      el.removeEventListener("scroll", look);
    };
  }, []);

  const reveal = (i: number) => {
    const el = box.current!;
    const top = offsets[i]!;
    const bottom = offsets[i + 1]!;
    if (top < el.scrollTop) el.scrollTop = top;
    else if (bottom > el.scrollTop + el.clientHeight) el.scrollTop = bottom - el.clientHeight;
  };

  useEffect(() => {
    const i = items.findIndex((item) => keyOf(item) === selected);
    if (i >= 0) reveal(i);
  }, [selected, items.length > 0]);

  useEffect(() => {
    const move = (e: Event) => {
      if (items.length === 0) return;
      const focused = (document.activeElement?.closest("[data-row]") as HTMLElement | null)?.dataset["row"];
      const from = items.findIndex((item) => keyOf(item) === (focused ?? selected));
      const to = Math.max(0, Math.min(items.length - 1, from + (e as CustomEvent<number>).detail));
      reveal(to);
      wanted.current = to;
      setView({ top: box.current!.scrollTop, height: box.current!.clientHeight });
    };
    window.addEventListener(rowMoved, move);
    return () => window.removeEventListener(rowMoved, move);
  });

  useEffect(() => {
    const item = items[wanted.current];
    if (!item) return;
    wanted.current = -1;
    const el = box.current!.querySelector<HTMLElement>(`[data-row="${CSS.escape(keyOf(item))}"] a`);
    el?.focus({ preventScroll: true });
  });

  const first = Math.max(0, at(offsets, view.top - over) - 1);
  const last = Math.min(items.length, at(offsets, view.top + view.height + over) + 1);
  return (
    <div class="list" ref={box}>
      <div role="list" aria-label={label} style={{ height: `${offsets[items.length]!}px`, position: "relative" }}>
        {items.slice(first, last).map((item, i) => {
          const key = keyOf(item);
          return (
            <div key={key} role="listitem" aria-setsize={items.length} aria-posinset={first + i + 1} data-row={key}
              class={key === selected ? "row chosen" : "row"}
              style={{ top: `${offsets[first + i]!}px`, height: `${heightOf(item)}px` }}>
              {row(item)}
            </div>
          );
        })}
      </div>
    </div>
  );
}

// at returns the index of the last offset that is not above y.
function at(offsets: Float64Array, y: number): number {
  let lo = 0;
  let hi = offsets.length - 1;
  while (lo < hi) {
    const mid = (lo + hi + 1) >> 1;
    if (offsets[mid]! <= y) lo = mid;
    else hi = mid - 1;
  }
  return lo;
}
