import { clock, span } from "./format";
import { t, word } from "./i18n";
import { StateMark } from "./jobstate";
import { ProgressBar } from "./progress";
import { Knot } from "./remedy";
import { href } from "./router";
import type { JobState, PlanStep, Policy, RemedyRun, RemedyStep } from "./types";
import { Icon, type Shape } from "./widgets";

type Rungs = NonNullable<Policy["rungs"]>;

// StepKnots are the steps that were begun, and of the rung that is being taken
// those that are still ahead while the run is open or proposed.
export function StepKnots({ run: r, rungs, live, trial }: { run: RemedyRun; rungs: Rungs; live: boolean; trial?: boolean }) {
  const begun = r.steps ?? [];
  const last = begun.at(-1)?.rung;
  const rung = rungs.find((x) => x.name === last) ?? (begun.length === 0 ? rungs[0] : undefined);
  const goesOn = (live && r.state !== "undoing") || r.state === "proposed" || r.state === "observed";
  const known = (p: PlanStep) => begun.some((s) => s.rung === last && s.kind === p.kind && s.name === p.name);
  const ahead = goesOn && rung ? rung.steps.filter((p) => !known(p)) : [];
  const named = (rungs.length > 1 || (last ?? "main") !== "main");
  return (
    <>
      {begun.map((s, i) => (
        <StepKnot key={`${s.rung} ${s.kind} ${s.name} ${i}`} step={s} live={live} trial={trial ?? false} rung={named && s.rung !== begun[i - 1]?.rung}
          undone={s.kind === "step" && begun.some((u) => u.kind === "undo" && u.rung === s.rung && u.name === s.name && u.state === "ok")} />
      ))}
      {ahead.map((p) => (
        <Knot key={`${p.kind} ${p.name}`} shape="wait" tone="none" faint title={<Named kind={p.kind} name={p.name} />}>
          <p class="dim">{word("stepstate", "ahead")}{p.on ? <> · {t("policy.on")} <code>{p.on}</code></> : null}</p>
        </Knot>
      ))}
    </>
  );
}

function Named({ kind, name }: { kind: string; name: string }) {
  return <><span class={`tag kind-${kind}`}>{word("kind", kind)}</span>{name}</>;
}

// form is how a step looks. In a trial nothing was done.
function form(s: RemedyStep, trial: boolean): [Shape, string, string] {
  switch (s.state) {
    case "ok": return ["good", "good", word("stepok", trial && s.kind === "step" ? "trial" : s.kind)];
    case "no": return s.kind === "confirm" || s.kind === "guard" ? ["stop", "warn", word("stepno", s.kind)] : ["bad", "bad", word("stepno", s.kind)];
    case "skip": return ["none", "none", word("stepstate", s.kind === "step" ? "nothing" : "skip")];
    case "running": return ["run", "info", word("stepstate", "running")];
    default: return ["wait", "info", word("stepstate", s.state)];
  }
}

function StepKnot({ step: s, live, trial, rung, undone }: { step: RemedyStep; live: boolean; trial: boolean; rung: boolean; undone: boolean }) {
  const [shape, tone, said] = form(s, trial);
  const nodes = s.nodes ?? [];
  const told = nodes.some((n) => n.answer?.reason && s.reason?.endsWith(n.answer.reason)); // behind the node's name.
  return (
    <Knot shape={shape} tone={tone} at={s.started} title={<Named kind={s.kind} name={s.name} />}>
      <p class="marks">
        {rung && <span class="tag">{t("trace.rung", { name: s.rung })}</span>}
        <span class={`mark ${tone}`}><Icon shape={shape} />{said}</span>
        {undone && <span class="tag warn">{t("trace.undone")}</span>}
        {s.ended && <span class="dim">{span(new Date(s.ended).getTime() - new Date(s.started).getTime())}</span>}
        {s.attempts > 1 && <span class="dim">{t("trace.attempts", { n: s.attempts })}</span>}
        {live && s.state === "waiting" && s.deadline && <span class="dim">{t("trace.next", { at: clock(s.deadline) })}</span>}
        {s.job && <a class="small" href={href("jobs", s.job)}>{t("col.job")} <code>{s.job.slice(0, 8)}</code></a>}
      </p>
      {s.reason && !told && <p class="pre">{s.reason}</p>}
      {nodes.map((n) => (
        <div key={n.node} class="answer">
          <p class="marks small">
            <a href={href("nodes", n.node)}>{n.node}</a>
            {n.job?.state && <StateMark state={n.job.state} />}
            {n.job?.state === "FAILED" && <span>{t("job.exit", { code: String(n.job.code ?? 0) })}</span>}
            <Woke job={n.job} />
          </p>
          {n.job?.reason && <p class="pre">{n.job.reason}</p>}
          {n.answer?.reason && <p class="pre">{n.answer.reason}</p>}
          {n.answer?.progress && <ProgressBar progress={n.answer.progress} live={live && !s.ended} />}
          {n.answer?.evidence && <Pairs of={n.answer.evidence} />}
        </div>
      ))}
    </Knot>
  );
}

// Woke says how a node learned of its job.
export function Woke({ job }: { job?: JobState | undefined }) {
  return job?.woke ? <span class="dim">{word("woke", job.woke)}</span> : null;
}

// few is how many pairs stand open.
const few = 8;

// Pairs is what was found, name by name. It is foreign text.
export function Pairs({ of }: { of: Record<string, string> }) {
  const all = Object.entries(of).sort(([a], [b]) => a.localeCompare(b));
  if (all.length === 0) return null;
  const list = <dl class="pairs">{all.map(([k, v]) => <div key={k}><dt>{k}</dt><dd>{v}</dd></div>)}</dl>;
  return all.length <= few ? list : <details><summary class="small">{t("trace.evidence", { n: all.length })}</summary>{list}</details>;
}

// Plan shows what a policy would do, rung by rung.
export function Plan({ rungs }: { rungs: Rungs }) {
  return (
    <details class="plan" open>
      <summary class="small">{t("policy.plan")}</summary>
      {rungs.map((r) => (
        <section key={r.name}>
          {rungs.length > 1 && <h3>{t("trace.rung", { name: r.name })}</h3>}
          <ol>{r.steps.map((s) => (
            <li key={`${s.kind} ${s.name}`}>
              <Named kind={s.kind} name={s.name} />
              <span class="dim small">
                {s.script !== s.name && <><code>{s.script}</code> · </>}
                {s.on ? <>{t("policy.on")} <code>{s.on}</code></> : t("policy.onnode")}
                {s.undo && <> · {t("policy.undo")} <code>{s.undo}</code></>}
                {s.within > 0 && <> · {t("policy.within", { span: span(s.within / 1e6) })}</>}
              </span>
            </li>
          ))}</ol>
        </section>
      ))}
    </details>
  );
}
