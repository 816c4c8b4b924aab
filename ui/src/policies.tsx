import { useState } from "preact/hooks";
import { ApiError, get, post, url } from "./api";
import { nanos } from "./format";
import { t, word } from "./i18n";
import { Severity } from "./incidents";
import { RunRows } from "./incident";
import { useLive } from "./live";
import { Proposals } from "./remedy";
import { href } from "./router";
import { useRowKeys } from "./rows";
import { Plan } from "./steps";
import type { Policy, PolicyList, RemedyRun, RuleList } from "./types";
import { Ago, Dialog, Empty, Fault, HealthMark, Icon, Loading, Note, Section } from "./widgets";

export function RulePanel() {
  const { data, error, loading } = useLive("rules", (s) => get<RuleList>("/v1/rules", s), ["incident", "rule"], 10_000);
  return (
    <>
      {loading && <Loading />}
      {error && <Fault error={error} />}
      {data?.problems?.map((p) => <Note key={p} tone="warn">{p}</Note>)}
      {data && (
        <Section title={t("alerts.rules")} count={data.rules.length}>
          {data.rules.length === 0 ? <Empty title={t("rules.none")} /> : (
            <table>
              <thead><tr><th>{t("col.rule")}</th><th>{t("col.severity")}</th><th>{t("rules.when")}</th><th>{t("rules.for")}</th><th>{t("col.target")}</th><th>{t("rules.tells")}</th><th>{t("col.owner")}</th></tr></thead>
              <tbody>{data.rules.map((r) => (
                <tr key={r.name}>
                  <td><b>{r.name}</b>{r.origin && <><br /><span class="small dim">{r.origin}</span></>}</td>
                  <td><Severity severity={r.severity} /></td>
                  <td><code>{r.check === "*" ? t("rules.any") : r.check}</code> {r.status.map((h) => <HealthMark key={h} health={h} />)}</td>
                  <td class="nowrap">{r.for > 0 ? nanos(r.for) : t("rules.atonce")}</td>
                  <td>{r.target ? <code>{r.target}</code> : <span class="dim">{t("rules.all")}</span>}</td>
                  <td>{r.notify?.map((n) => <span key={n} class="tag">{n}</span>) ?? <span class="dim">–</span>}</td>
                  <td>{r.owner || <span class="dim">–</span>}</td>
                </tr>
              ))}</tbody>
            </table>
          )}
        </Section>
      )}
      {data && data.receivers.length > 0 && (
        <Section title={t("rules.receivers")} count={data.receivers.length}>
          <table>
            <thead><tr><th>{t("col.name")}</th><th>{t("rules.how")}</th><th>{t("rules.resolved")}</th></tr></thead>
            <tbody>{data.receivers.map((r) => (
              <tr key={r.name}><td>{r.name}</td><td><code class="break">{r.url ?? r.command?.join(" ")}</code></td><td>{r.resolved ? t("yes") : t("no")}</td></tr>
            ))}</tbody>
          </table>
        </Section>
      )}
    </>
  );
}

export function PolicyPanel() {
  const { data, error, loading, reload } = useLive("policies", (s) => get<PolicyList>("/v1/policies", s), ["remedy"], 1000);
  const runs = useLive("runs", (s) => get<{ runs: RemedyRun[] }>(url("/v1/remedy-runs", { limit: 20 }), s), ["remedy"], 1000);
  useRowKeys();
  return (
    <>
      {loading && <Loading />}
      {error && <Fault error={error} />}
      {runs.data && <Proposals runs={runs.data.runs} />}
      {data && <PauseSwitch list={data} onDone={reload} />}
      {data && (data.policies.length === 0 ? <Empty title={t("policies.none")} /> : (
        <ul class="cards policies">{data.policies.map((p) => <PolicyCard key={p.name} policy={p} onDone={reload} />)}</ul>
      ))}
      {runs.data && runs.data.runs.length > 0 && <Section title={t("remedy.recent")} count={runs.data.runs.length}><RunRows runs={runs.data.runs} /></Section>}
    </>
  );
}

// PauseSwitch is the one switch that keeps every policy from acting.
function PauseSwitch({ list, onDone }: { list: PolicyList; onDone: () => void }) {
  const paused = list.paused;
  return (
    <div class={paused ? "killswitch on" : "killswitch"}>
      <Icon shape={paused ? "stop" : "run"} tone={paused ? "bad" : "good"} />
      <div class="grow">
        <strong>{paused ? t("pause.on") : t("pause.off")}</strong>
        {paused ? <p>{t("pause.by", { who: paused.by })} · <Ago at={paused.at} />{paused.reason && <> · {paused.reason}</>}</p> : <p class="dim">{t("pause.what")}</p>}
      </div>
      {paused
        ? <Flip resume label={t("pause.resume")} what={t("pause.resume.what")} onDone={onDone} />
        : <Flip big label={t("pause.all")} what={t("pause.all.what")} onDone={onDone} />}
    </div>
  );
}

interface FlipProps {
  scope?: { policy?: string; group?: string }; // without one: all policies.
  resume?: boolean;
  big?: boolean;
  label: string;
  what: string;
  onDone: () => void;
}

// Flip is a button that asks why, and pauses or resumes what is in its scope.
function Flip({ scope, resume, big, label, what, onDone }: FlipProps) {
  const [asking, ask] = useState(false);
  const [reason, setReason] = useState("");
  const [error, setError] = useState<ApiError>();
  const flip = async (e: Event) => {
    e.preventDefault();
    try {
      await post(url(`/v1/remedy/${resume ? "resume" : "pause"}`, { ...scope }), reason.trim() ? { reason: reason.trim() } : {});
      ask(false);
      setReason("");
      setError(undefined);
      onDone();
    } catch (err) {
      setError(err as ApiError);
    }
  };
  return (
    <>
      <button type="button" class={resume ? "primary" : big ? "danger big" : ""} onClick={() => ask(true)}>{label}</button>
      {asking && (
        <Dialog title={label} onClose={() => ask(false)}>
          <form onSubmit={(e) => void flip(e)}>
            <p>{what}</p>
            <label>{t("pause.reason")}<input type="text" maxLength={500} value={reason} autoFocus onInput={(e) => setReason(e.currentTarget.value)} /></label>
            {error && <Fault error={error} />}
            <div class="actions">
              <button type="submit" class={resume ? "primary" : "danger"} disabled={!resume && !reason.trim()}>{label}</button>
              <button type="button" onClick={() => ask(false)}>{t("cancel")}</button>
            </div>
          </form>
        </Dialog>
      )}
    </>
  );
}

// PolicySwitch pauses one policy, or ends what has paused it alone or its group.
function PolicySwitch({ policy: p, onDone }: { policy: Policy; onDone: () => void }) {
  const by = p.paused;
  if (by?.group) {
    return <Flip resume scope={{ group: by.group }} label={t("pause.group.resume", { group: by.group })} what={t("pause.resume.what")} onDone={onDone} />;
  }
  if (by?.policy) {
    return <Flip resume scope={{ policy: p.name }} label={t("pause.policy.resume")} what={t("pause.policy.resume.what")} onDone={onDone} />;
  }
  return by ? null : <Flip scope={{ policy: p.name }} label={t("pause.policy")} what={t("pause.policy.what", { policy: p.name })} onDone={onDone} />;
}

function PolicyCard({ policy: p, onDone }: { policy: Policy; onDone: () => void }) {
  const [error, setError] = useState<ApiError>();
  // A policy that only observes or asks refuses nothing: it is what it was told to be.
  const bidden = p.blocked?.startsWith("mode: ") ? p.blocked.slice("mode: ".length) : "";
  const breaker = p.failures > 0 && p.failures_in_a_row >= p.failures;
  const close = async () => {
    try {
      await post(url("/v1/remedy/resume", { policy: p.name }));
      onDone();
    } catch (e) {
      setError(e as ApiError);
    }
  };
  return (
    <li>
      <div class="cardhead">
        <b class="name">{p.name}</b>
        <span class={`tag mode-${p.mode}`}>{word("mode", p.mode)}</span>
        <span class="dim grow">{t("policy.for")} <b>{p.rule}</b>{p.script && <> → <code>{[p.script, ...(p.args ?? [])].join(" ")}</code></>}</span>
        <PolicySwitch policy={p} onDone={onDone} />
      </div>
      {bidden && <p class="dim small">{bidden}</p>}
      {p.blocked && !bidden ? <Note tone="warn"><strong>{t("policy.blocked")}</strong><p>{p.blocked}</p>
        {breaker && <button type="button" onClick={() => void close()}>{t("policy.breaker")}</button>}</Note> : null}
      {error && <Fault error={error} />}
      {p.rungs && p.rungs.length > 0 && <Plan rungs={p.rungs} />}
      <dl class="facts tight">
        <div><dt>{t("policy.target")}</dt><dd>{p.target ? <code>{p.target}</code> : t("rules.all")}</dd></div>
        {p.group && <div><dt>{t("policy.group")}</dt><dd>{p.group}</dd></div>}
        <div><dt>{t("policy.rate")}</dt><dd>{t("policy.rate.of", { n: p.last_hour, max: p.per_hour })}</dd></div>
        <div><dt>{t("policy.cooldown")}</dt><dd>{nanos(p.cooldown)}</dd></div>
        <div><dt>{t("policy.storm")}</dt><dd>{t("policy.storm.of", { n: String(p.storm), span: nanos(p.storm_window) })}</dd></div>
        <div><dt>{t("policy.failures")}</dt><dd>{p.failures_in_a_row}/{p.failures}</dd></div>
        {p.max_unavailable && <div><dt>{t("policy.unavailable")}</dt><dd>{p.max_unavailable}</dd></div>}
        {p.per_day ? <div><dt>{t("policy.perday")}</dt><dd>{p.per_day}</dd></div> : null}
        {p.retry ? <div><dt>{t("policy.retry")}</dt><dd>{nanos(p.retry)}</dd></div> : null}
        {p.maintenance && p.maintenance.length > 0 && <div><dt>{t("policy.maintenance")}</dt><dd>{p.maintenance.join(", ")}</dd></div>}
        <div><dt>{t("policy.verify")}</dt><dd>{nanos(p.verify)}</dd></div>
        {p.last && <div class="whole"><dt>{t("policy.last")}</dt><dd><a href={href("remedy", p.last.id)}>{word("run", p.last.state)}</a> · {p.last.node} · <Ago at={p.last.decided} /></dd></div>}
      </dl>
    </li>
  );
}
