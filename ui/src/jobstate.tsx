import { t, word } from "./i18n";
import type { Job, State } from "./types";
import { states } from "./types";
import { Bar, Icon, type Shape } from "./widgets";

const forms: Record<State, [Shape, string]> = {
  PENDING: ["wait", "none"], ACKED: ["wait", "none"], QUEUED: ["wait", "none"], RUNNING: ["run", "info"],
  OK: ["good", "good"], FAILED: ["bad", "bad"], SIGNALED: ["bad", "bad"], TIMEOUT: ["bad", "bad"],
  CANCELLED: ["stop", "warn"], REJECTED: ["warn", "warn"], EXPIRED: ["warn", "warn"], SKIPPED: ["stop", "none"], UNKNOWN: ["none", "warn"],
};

// worseFirst is the order in which a result is read: what needs somebody
// first, what is under way next, what went well last.
const worseFirst: State[] = [
  "FAILED", "SIGNALED", "TIMEOUT", "UNKNOWN", "REJECTED", "EXPIRED", "CANCELLED", "SKIPPED", "RUNNING", "QUEUED", "ACKED", "PENDING", "OK",
];

export const stateRank = (s: State) => worseFirst.indexOf(s);

export const stateTone = (s: State) => (forms[s] ?? forms.UNKNOWN)[1];

export function StateMark({ state }: { state: State }) {
  const [shape, tone] = forms[state] ?? forms.UNKNOWN;
  return <span class={`mark ${tone}`} title={state}><Icon shape={shape} />{word("state", state)}</span>;
}

export const total = (job: Pick<Job, "counts">) => states.reduce((n, s) => n + (job.counts[s] ?? 0), 0);

export function StateBar({ job }: { job: Pick<Job, "counts" | "title"> }) {
  const parts = worseFirst.map((s) => ({ n: job.counts[s] ?? 0, tone: stateTone(s), label: word("state", s) }));
  return <Bar parts={parts.reverse()} label={job.title} />;
}

// StateWords names what is not OK, for who does not see the colours of the bar.
export function StateWords({ job }: { job: Pick<Job, "counts"> }) {
  const shown = worseFirst.filter((s) => s !== "OK" && job.counts[s]);
  if (shown.length === 0) return null;
  return <span class="small">{shown.map((s) => <span key={s} class={`tallied small ${stateTone(s)}`}>{word("state", s)} {job.counts[s]}</span>)}</span>;
}

// StateCounts names every state that has a target; they sum to the list.
export function StateCounts({ job }: { job: Job }) {
  return (
    <p class="statecounts" aria-live="polite">
      {worseFirst.filter((s) => job.counts[s]).map((s) => (
        <span key={s} class={`tallied ${stateTone(s)}`}>{word("state", s)} <b>{job.counts[s]}</b></span>
      ))}
      <span class="tallied">{t("job.of")} <b>{total(job)}</b></span>
    </p>
  );
}
