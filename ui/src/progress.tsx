import { useMemo } from "preact/hooks";
import { clock, span } from "./format";
import { number, t } from "./i18n";
import type { Progress, RemedyStep } from "./types";
import { Bar } from "./widgets";

// progressOf is what the newest step that has said how far it is has said. Of
// several nodes the one counts that has the most before it.
export function progressOf(steps: RemedyStep[]): Progress | undefined {
  for (const s of [...steps].reverse()) {
    const all = (s.nodes ?? []).flatMap((n) => (n.answer?.progress ? [n.answer.progress] : []));
    if (all.length > 0) return all.reduce((a, b) => (b.left > a.left ? b : a));
  }
  return undefined;
}

// foreseen is how far ahead an end is worth a number.
const foreseen = 30 * 24 * 3600_000;

// remaining is in milliseconds, or undefined where nobody can know.
export function remaining(p: Progress): number | undefined {
  if (!p.rate || p.left === 0) return undefined;
  const ms = Math.ceil(p.left / p.rate) * 1000;
  return ms < foreseen ? ms : undefined;
}

// ProgressBar says in words what its bar shows. The projected end is reckoned
// from when the numbers came, so that it stands still between two answers.
export function ProgressBar({ progress: p, live, big }: { progress: Progress; live: boolean; big?: boolean }) {
  const unit = p.unit || t("trace.items");
  const left = remaining(p);
  const end = useMemo(() => Date.now() + (left ?? 0), [p.left, p.rate, p.total]);
  const done = Math.max((p.total ?? 0) - p.left, 0);
  const rate = p.rate ? number(p.rate >= 10 ? Math.round(p.rate) : Number(p.rate.toPrecision(2))) : "";
  const words = [
    p.total ? t("trace.leftof", { left: p.left, total: p.total, unit }) : t("trace.left", { left: p.left, unit }),
    rate ? t("trace.rate", { n: rate, unit }) : live && p.left > 0 ? t("trace.norate") : "",
    live && left !== undefined ? t("trace.eta", { span: span(left), at: clock(end) }) : "",
  ].filter(Boolean);
  return (
    <div class={big ? "headway big" : "headway"} aria-live={big ? "polite" : undefined}>
      {p.state && <b>{p.state}</b>}
      {p.total ? <Bar label={p.state ?? unit} parts={[
        { n: done, tone: p.left === 0 ? "good" : "info", label: "✓" }, { n: p.left, tone: "rest", label: "…" },
      ]} /> : null}
      <span class="num">{words.join(" · ")}</span>
    </div>
  );
}
