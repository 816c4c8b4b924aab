import { useState } from "preact/hooks";
import { ApiError, get, post, seg, url } from "./api";
import { absolute, ago, clock, span } from "./format";
import { t, word, type Key } from "./i18n";
import { began, IncidentState, Lasted, Severity } from "./incidents";
import { StateMark } from "./jobstate";
import { useLive, useNow } from "./live";
import { ProgressBar, progressOf } from "./progress";
import { here, href } from "./router";
import type { Incident, IncidentEvent, RemedyRun } from "./types";
import { Ago, Clipped, Fault, HealthMark, Icon, Loading, Section, type Shape } from "./widgets";

export function IncidentPage({ id }: { id: string }) {
  const path = `/v1/incidents/${seg(id)}`;
  const { data: i, error, loading, reload } = useLive(path, (s) => get<Incident>(path, s), [`incident/${id}`, "remedy"], 500);
  const back = <a class="back always" href={href("alerts", "", here())}>{t("back")}</a>;
  if (loading) return <div class="page">{back}<Loading /></div>;
  if (!i) return <div class="page">{back}{error && <Fault error={error} />}</div>;
  return (
    <article class="page">
      {back}
      <header class="title">
        <Severity severity={i.severity} />
        <h1>{i.summary || i.rule}</h1>
        <IncidentState incident={i} />
      </header>
      {error && <Fault error={error} />}
      <dl class="facts">
        {i.node && <div><dt>{t("col.node")}</dt><dd><a href={href("nodes", i.node)}>{i.node}</a></dd></div>}
        {i.check && <div><dt>{t("col.check")}</dt><dd>{i.check} <HealthMark health={i.health} /></dd></div>}
        {i.service && <div><dt>{t("col.service")}</dt><dd><a href={href("services", i.service)}>{i.service}</a></dd></div>}
        {i.disks && <div><dt>{t("col.disks")}</dt><dd>{i.disks.join(", ")}</dd></div>}
        <div><dt>{t("col.rule")}</dt><dd>{i.rule}</dd></div>
        <div><dt>{t("since")}</dt><dd><Ago at={began(i)} /> <span class="dim">{absolute(began(i))}</span></dd></div>
        <div><dt>{t("col.lasted")}</dt><dd><Lasted incident={i} />{i.reopened ? ` · ${t("incident.reopened", { n: i.reopened })}` : ""}</dd></div>
        {i.owner && <div><dt>{t("col.owner")}</dt><dd>{i.owner}</dd></div>}
        {i.runbook && <div><dt>{t("incident.runbook")}</dt><dd><Runbook text={i.runbook} /></dd></div>}
        {i.closed_by && <div><dt>{t("incident.closedby")}</dt><dd>{i.closed_by === "alps" ? t("incident.recovered") : i.closed_by}</dd></div>}
      </dl>
      {i.output && <Clipped text={i.output} lines={6} label={t("output")} />}
      <Actions incident={i} onDone={reload} />
      <Section title={t("incident.story")} count={i.timeline?.length ?? 0}><Timeline events={i.timeline ?? []} /></Section>
      <Remedies incident={i.id} />
    </article>
  );
}

// Runbook is a link only to where a browser should go from here.
function Runbook({ text }: { text: string }) {
  return /^https?:\/\//i.test(text)
    ? <a href={text} target="_blank" rel="noopener noreferrer">{text}</a>
    : <code>{text}</code>;
}

const eventForm: Record<string, [Shape, string]> = {
  check: ["warn", "bad"], opened: ["bell", "bad"], notified: ["note", "info"], notify_failed: ["note", "bad"], acked: ["person", "info"],
  comment: ["note", "none"], remedy: ["tool", "info"], recovered: ["good", "good"], closed: ["good", "good"], reopened: ["bell", "bad"], escalated: ["bell", "warn"],
};

function Timeline({ events }: { events: IncidentEvent[] }) {
  const now = useNow(5000);
  return (
    <ol class="timeline" aria-live="polite">
      {events.map((e, n) => {
        const [shape, tone] = eventForm[e.kind] ?? ["note", "none"];
        const before = events[n - 1];
        const gap = before ? new Date(e.at).getTime() - new Date(before.at).getTime() : 0;
        return (
          <li key={n}>
            {gap >= 20 && <span class="gap">+{span(gap)}</span>}
            <span class={`knot ${tone}`}><Icon shape={shape} tone={tone} /></span>
            <time dateTime={e.at} title={absolute(e.at)}>{clock(e.at)}<br /><span class="dim small">{ago(e.at, now)}</span></time>
            <div class="said">
              <b>{word("event", e.kind)}</b> <span class="dim">{e.actor}</span>
              {e.text && <p class="pre">{e.text}</p>}
              <Data data={e.data ?? {}} />
            </div>
          </li>
        );
      })}
    </ol>
  );
}

function Data({ data }: { data: Record<string, string> }) {
  const entries = Object.entries(data).filter(([, v]) => v);
  const page: Record<string, string> = { job: "jobs", run: "remedy" };
  if (entries.length === 0) return null;
  return (
    <p class="small data">
      {entries.map(([k, v]) => (
        <span key={k}><span class="dim">{k}</span> {page[k] ? <a href={href(page[k], v)}><code>{v}</code></a> : <code>{v}</code>}</span>
      ))}
    </p>
  );
}

function Actions({ incident: i, onDone }: { incident: Incident; onDone: () => void }) {
  const [text, set] = useState("");
  const [error, setError] = useState<ApiError>();
  const act = async (what: string) => {
    setError(undefined);
    try {
      await post(`/v1/incidents/${i.id}/${what}`, text.trim() ? { text: text.trim() } : {});
      set("");
      onDone();
    } catch (e) {
      setError(e as ApiError);
    }
  };
  const button = (what: "ack" | "close" | "reopen", cls = "") =>
    <button type="button" class={cls} onClick={() => void act(what)}>{t(`incident.${what}` as Key)}</button>;
  return (
    <form class="respond" onSubmit={(e) => { e.preventDefault(); void act("comment"); }}>
      <input type="text" value={text} maxLength={2000} placeholder={t("incident.say")} aria-label={t("incident.say")} onInput={(e) => set(e.currentTarget.value)} />
      <button type="submit" disabled={!text.trim()}>{t("incident.comment")}</button>
      {i.status === "open" && button("ack", "primary")}
      {i.status !== "closed" && button("close")}
      {i.status === "closed" && button("reopen")}
      {error && <Fault error={error} />}
    </form>
  );
}

function Remedies({ incident }: { incident: string }) {
  const { data, error } = useLive(`runs ${incident}`, (s) => get<{ runs: RemedyRun[] }>(url("/v1/remedy-runs", { incident }), s), ["remedy", `incident/${incident}`], 700);
  if (!data?.runs.length && !error) return null;
  return (
    <Section title={t("remedy.runs")} count={data?.runs.length ?? 0}>
      {error && <Fault error={error} />}
      {data && <RunRows runs={data.runs} />}
    </Section>
  );
}

const runForm: Record<string, [Shape, string]> = {
  proposed: ["person", "info"], undoing: ["wait", "warn"], decided: ["wait", "info"], running: ["run", "info"], verifying: ["wait", "info"], succeeded: ["good", "good"], failed: ["bad", "bad"], refused: ["stop", "warn"], observed: ["none", "none"],
};

export function RunState({ state }: { state: string }) {
  const [shape, tone] = runForm[state] ?? ["none", "none"];
  return <span class={`mark ${tone}`}><Icon shape={shape} />{word("run", state)}</span>;
}

// RunReason is why a run ended, or how far it is.
function RunReason({ run: r }: { run: RemedyRun }) {
  const progress = r.ended || r.reason ? undefined : progressOf(r.steps?.slice(-1) ?? []);
  if (progress) return <ProgressBar progress={progress} live />;
  return <>{r.guard && <span class="tag warn">{t("remedy.guard")} {r.guard}</span>} {r.reason || (r.guard ? "" : <span class="dim">–</span>)}</>;
}

export function RunRows({ runs }: { runs: RemedyRun[] }) {
  return (
    <table>
      <thead><tr><th>{t("col.state")}</th><th>{t("col.policy")}</th><th>{t("col.script")}</th><th>{t("col.why")}</th><th>{t("col.job")}</th><th>{t("col.when")}</th><th class="num">{t("col.lasted")}</th></tr></thead>
      <tbody>
        {runs.map((r) => {
          const step = r.steps?.at(-1);
          const job = step?.job || r.id;
          const acted = !!r.job?.state || !!r.steps?.some((s) => s.kind === "step") || ["running", "verifying", "undoing", "succeeded"].includes(r.state);
          return (
            <tr key={r.id} data-row={r.id}>
              <td class="nowrap"><a href={href("remedy", r.id)}><RunState state={r.state} /></a></td>
              <td>{r.policy}<br /><a class="small nowrap" href={href("nodes", r.node)}>{r.node}</a></td>
              <td><code>{step?.name ?? r.script}</code></td>
              <td><RunReason run={r} /></td>
              <td>{acted ? <a href={href("jobs", job)}>{r.job?.state ? <StateMark state={r.job.state} /> : <code>{job.slice(0, 8)}</code>}</a> : <span class="dim">–</span>}</td>
              <td class="nowrap"><Ago at={r.decided} /></td>
              <td class="nowrap num">{r.ended && acted ? span(new Date(r.ended).getTime() - new Date(r.decided).getTime()) : "–"}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}
