import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { ApiError, get, post, seg } from "./api";
import { absolute, ago, clock, span } from "./format";
import { t, word } from "./i18n";
import { RunState } from "./incident";
import { IncidentState, Severity } from "./incidents";
import { StateMark } from "./jobstate";
import { useLive, useNow } from "./live";
import { ProgressBar, progressOf } from "./progress";
import { href } from "./router";
import { Pairs, StepKnots, Woke } from "./steps";
import type { CheckState, Incident, Policy, PolicyList, RemedyRun, Simulation } from "./types";
import { Ago, Clipped, Dialog, Fault, HealthMark, Icon, Loading, Note, type Shape } from "./widgets";

const open = ["decided", "running", "verifying", "undoing"];

// RunPage shows one run from the check to the proof.
export function RunPage({ id }: { id: string }) {
  const path = `/v1/remedy-runs/${seg(id)}`;
  const { data: r, error, loading, reload } = useLive(path, (s) => get<RemedyRun>(path, s), ["remedy"], 500);
  const policies = useLive("policies", (s) => get<PolicyList>("/v1/policies", s), ["remedy"], 10_000);
  const back = <a class="back always" href={href("alerts", "", { view: "policies" })}>{t("back")}</a>;
  if (loading) return <div class="page">{back}<Loading /></div>;
  if (!r) return <div class="page">{back}{error && <Fault error={error} />}</div>;
  const policy = policies.data?.policies.find((p) => p.name === r.policy);
  const live = open.includes(r.state);
  const progress = progressOf(r.steps ?? []);
  return (
    <article class="page">
      {back}
      <header class="title">
        <RunState state={r.state} />
        <h1>{t("trace.title", { policy: r.policy, node: r.node })}</h1>
      </header>
      {error && <Fault error={error} />}
      {progress && live && <ProgressBar progress={progress} live big />}
      <ol class="trace">
        {r.before?.result?.check && <CheckKnot state={r.before} title={t("trace.check")} />}
        <IncidentKnot id={r.incident} />
        <DecisionKnot run={r} policy={policy} onDone={reload} />
        {r.steps?.length || policy?.rungs?.length ? <StepKnots run={r} rungs={policy?.rungs ?? []} live={live} /> : <JobKnot run={r} />}
        {r.facts && Object.keys(r.facts).length > 0 && <Knot shape="note" tone="none" title={t("trace.facts")}><Pairs of={r.facts} /></Knot>}
        {r.after?.result?.check && <CheckKnot state={r.after} title={t("trace.after")} />}
        {r.ended && <EndKnot run={r} />}
      </ol>
    </article>
  );
}

interface KnotProps {
  shape: Shape;
  tone: string;
  title: ComponentChildren;
  at?: string | undefined;
  faint?: boolean;
  children?: ComponentChildren;
}

// Knot is one station of the trace.
export function Knot({ shape, tone, title, at, faint, children }: KnotProps) {
  const now = useNow(5000);
  return (
    <li class={faint ? "faint" : ""}>
      <span class={`knot ${tone}`}><Icon shape={shape} tone={tone} /></span>
      <div class="said">
        <header><b>{title}</b>{at && <time class="dim small" dateTime={at} title={absolute(at)}>{clock(at)} · {ago(at, now)}</time>}</header>
        {children}
      </div>
    </li>
  );
}

const healthKnot: Record<string, [Shape, string]> = { passing: ["good", "good"], warning: ["warn", "warn"], critical: ["bad", "bad"] };

function CheckKnot({ state: c, title }: { state: CheckState; title: string }) {
  const [shape, tone] = healthKnot[c.status] ?? ["none", "none"];
  return (
    <Knot shape={shape} tone={tone} title={title} at={c.result.at}>
      <p class="marks">{c.result.check} <HealthMark health={c.status} /></p>
      {c.result.output && <Clipped text={c.result.output} lines={6} />}
    </Knot>
  );
}

function IncidentKnot({ id }: { id: string }) {
  const path = `/v1/incidents/${seg(id)}`;
  const { data: i } = useLive(path, (s) => get<Incident>(path, s), [`incident/${id}`], 1000);
  return (
    <Knot shape="bell" tone="bad" title={t("trace.incident")} at={i?.opened}>
      <p class="marks">
        {i && <Severity severity={i.severity} />}
        <a href={href("alerts", id)}>{i ? i.summary || i.rule : <code>{id}</code>}</a>
        {i && <IncidentState incident={i} />}
      </p>
    </Knot>
  );
}

function DecisionKnot({ run: r, policy, onDone }: { run: RemedyRun; policy: Policy | undefined; onDone: () => void }) {
  const refused = r.state === "refused";
  const asks = r.state === "proposed";
  const [shape, tone]: [Shape, string] = refused ? ["stop", "warn"] : asks ? ["person", "info"] : ["tool", "info"];
  return (
    <Knot shape={shape} tone={tone} title={t("trace.decision")} at={r.decided}>
      <p class="marks">
        <a href={href("alerts", "", { view: "policies" })}>{r.policy}</a>
        {policy && <span class={`tag mode-${policy.mode}`}>{word("mode", policy.mode)}</span>}
        {r.approved && <span>{t("trace.approved", { who: r.approved })}</span>}
      </p>
      {refused
        ? <Note tone="warn"><strong>{r.guard ? `${t("trace.refused")} ${r.guard}` : word("run", r.state)}</strong>{r.reason && <p>{r.reason}</p>}</Note>
        : <p class="dim">{t("trace.agree")}</p>}
      {asks && <Proposal run={r} onDone={onDone} />}
    </Knot>
  );
}

function Proposal({ run: r, onDone }: { run: RemedyRun; onDone: () => void }) {
  const [asking, ask] = useState<"approve" | "reject">();
  const [reason, setReason] = useState("");
  const [error, setError] = useState<ApiError>();
  const give = async (e: Event) => {
    e.preventDefault();
    try {
      await post(`/v1/remedy-runs/${seg(r.id)}/${asking}`, reason.trim() ? { reason: reason.trim() } : {});
      ask(undefined);
      setReason("");
      setError(undefined);
      onDone();
    } catch (err) {
      setError(err as ApiError);
      onDone();
    }
  };
  return (
    <Note>
      <strong>{t("trace.asked")}</strong>
      {r.reason && <p>{r.reason}</p>}
      {r.deadline && <p>{t("trace.until", { at: absolute(r.deadline) })}</p>}
      <div class="actions">
        <button type="button" class="primary" onClick={() => ask("approve")}>{t("trace.approve")}</button>
        <button type="button" class="danger" onClick={() => ask("reject")}>{t("trace.reject")}</button>
      </div>
      <Trial run={r} />
      {asking && (
        <Dialog title={t(`trace.${asking}`)} onClose={() => { ask(undefined); setError(undefined); }}>
          <form onSubmit={(e) => void give(e)}>
            <p>{asking === "approve" ? t("trace.approve.what", { policy: r.policy, node: r.node }) : t("trace.reject.what", { policy: r.policy })}</p>
            <label>{t("pause.reason")}<input type="text" maxLength={500} value={reason} autoFocus onInput={(e) => setReason(e.currentTarget.value)} /></label>
            {error && <Fault error={error} />}
            <div class="actions">
              <button type="submit" class={asking === "approve" ? "primary" : "danger"}>{t(`trace.${asking}`)}</button>
              <button type="button" onClick={() => ask(undefined)}>{t("cancel")}</button>
            </div>
          </form>
        </Dialog>
      )}
    </Note>
  );
}

// Trial asks what the policy would do now, on the nodes, and changes nothing.
function Trial({ run: r }: { run: RemedyRun }) {
  const [busy, setBusy] = useState(false);
  const [said, setSaid] = useState<Simulation>();
  const [error, setError] = useState<ApiError>();
  const ask = async () => {
    setBusy(true);
    setError(undefined);
    try {
      setSaid(await post<Simulation>(`/v1/policies/${seg(r.policy)}/simulate`, { incident: r.incident }));
    } catch (err) {
      setError(err as ApiError);
    }
    setBusy(false);
  };
  const against = said?.verdicts.filter((v) => v.reason) ?? [];
  return (
    <div class="trial">
      <p class="marks">
        <button type="button" disabled={busy} onClick={() => void ask()}>{t("trial.ask")}</button>
        <span class="dim">{busy ? t("trial.busy") : t("trial.what")}</span>
      </p>
      {error && <Fault error={error} />}
      {said && (
        <>
          <p class="marks" role="status">
            <span class={`mark ${said.would ? "good" : "warn"}`}><Icon shape={said.would ? "good" : "stop"} /><b>{said.would ? t("trial.would") : t("trial.wouldnot")}</b></span>
            {!said.would && <span>{said.reason}</span>}
          </p>
          {against.length > 1 && <ul class="small">{against.map((v) => <li key={v.guard}><b>{v.guard}</b>: {v.reason}</li>)}</ul>}
          <ol class="trace"><StepKnots run={said.run} rungs={[]} live={false} trial /></ol>
        </>
      )}
    </div>
  );
}

// JobKnot is all that a policy of one script does.
function JobKnot({ run: r }: { run: RemedyRun }) {
  if (!r.job?.state && !r.started) return null;
  return (
    <Knot shape="run" tone="info" title={t("trace.job")} at={r.started}>
      <p class="marks">
        <code>{r.script}</code> <a href={href("nodes", r.node)}>{r.node}</a>
        <a href={href("jobs", r.id)}>{r.job?.state ? <StateMark state={r.job.state} /> : <code>{r.id}</code>}</a>
        {r.job?.state === "FAILED" && <span>{t("job.exit", { code: String(r.job.code ?? 0) })}</span>}
        <Woke job={r.job} />
      </p>
      {r.job?.reason && <p class="pre">{r.job.reason}</p>}
    </Knot>
  );
}

function EndKnot({ run: r }: { run: RemedyRun }) {
  const [shape, tone]: [Shape, string] = r.state === "succeeded" ? ["good", "good"] : r.state === "failed" ? ["bad", "bad"] : r.state === "refused" ? ["stop", "warn"] : ["none", "none"];
  return (
    <Knot shape={shape} tone={tone} title={word("run", r.state)} at={r.ended}>
      {r.reason && r.state !== "refused" && <p class="pre">{r.reason}</p>}
      <p class="dim">{t("trace.took", { span: span(new Date(r.ended!).getTime() - new Date(r.decided).getTime()) })}</p>
    </Knot>
  );
}

// Proposals leads to what waits for a person.
export function Proposals({ runs }: { runs: RemedyRun[] }) {
  const waiting = runs.filter((r) => r.state === "proposed");
  if (waiting.length === 0) return null;
  return (
    <Note>
      <strong>{t("policy.proposals")}</strong>
      {waiting.map((r) => <p key={r.id}><a href={href("remedy", r.id)}>{t("trace.title", { policy: r.policy, node: r.node })}</a> · <Ago at={r.decided} /></p>)}
    </Note>
  );
}
