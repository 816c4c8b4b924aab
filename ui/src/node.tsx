import { useState } from "preact/hooks";
import { ApiError, get, post, seg, url } from "./api";
import { absolute, bytes, nanos, quoted } from "./format";
import { t, word } from "./i18n";
import { IncidentRows } from "./incidents";
import { JobRows } from "./joblist";
import { useLive } from "./live";
import { here, href } from "./router";
import { TomographyBlock } from "./tomography";
import type { Check, CheckState, IncidentList, Job, LockSession, Node, Settings } from "./types";
import { Ago, Clipped, CopyButton, Empty, Fault, HealthMark, Loading, Section, believed, rank, worst } from "./widgets";

export function NodePage({ name }: { name: string }) {
  const path = `/v1/nodes/${seg(name)}`;
  const node = useLive(path, (s) => get<Node>(path, s), [`node@${name}`, `check@${name}`]);
  const back = <a class="back" href={href("nodes", "", here())}>{t("back")}</a>;
  if (node.loading) return <>{back}<Loading /></>;
  const n = node.data;
  if (!n) return <>{back}{node.error && <Fault error={node.error} />}</>;
  return (
    <article>
      {back}
      <header class="title">
        <h1>{n.name}</h1>
        <HealthMark health={worst((n.checks ?? []).map((c) => believed(c).status))} />
        <code class="address">{n.address}</code>
        <CopyButton text={n.address} />
        <a class="button" href={href("jobs", "new", { target: n.name })}>{t("node.run")}</a>
      </header>
      {node.error && <Fault error={node.error} />}
      <FactLines node={n} />
      <Checks node={n} />
      <Services node={n} />
      <Sessions name={n.name} />
      <TomographyBlock name={n.name} />
      <Configuration name={n.name} />
      <RecentJobs name={n.name} />
      <RecentIncidents name={n.name} />
    </article>
  );
}

function FactLines({ node: n }: { node: Node }) {
  const f = n.facts;
  const naming = n.naming;
  const lines: [string, preact.ComponentChildren][] = [
    [t("fact.consul"), [word("member", n.status), n.type, n.build].filter(Boolean).join(" · ")],
    [t("fact.agent"), <>{word("agent", n.agent)}{f?.agent ? ` · ${f.agent}` : ""} {n.since && <span class="dim"><Ago at={n.since} /></span>}</>],
    [t("fact.role"), naming?.role ? [naming.role, naming.cluster, naming.rack && t("fact.rack", { rack: naming.rack })].filter(Boolean).join(" · ") : ""],
    [t("fact.dc"), n.dc],
    [t("fact.system"), f ? [f.distro ?? f.os, f.version, f.kernel, f.arch].filter(Boolean).join(" · ") : ""],
    [t("fact.machine"), f ? [t("fact.cpus", { n: f.cpus }), bytes(f.memory), f.virtual].filter(Boolean).join(" · ") : ""],
    [t("fact.disks"), f?.disks?.length ? f.disks.map((d) => `${d.mount} ${bytes(d.size)}`).slice(0, 12).join(" · ") : ""],
    [t("fact.booted"), f?.boot_time ? <Ago at={new Date(f.boot_time * 1000).toISOString()} /> : ""],
    [t("fact.id"), n.id ? <code class="small">{n.id}</code> : ""],
    ...Object.entries(n.meta ?? {}).filter(([k]) => !k.startsWith("consul-")).map(([k, v]) => [k, v] as [string, string]),
  ];
  return (
    <dl class="facts">
      {lines.filter(([, v]) => v !== "" && v !== undefined).map(([k, v]) => <div key={k}><dt>{k}</dt><dd>{v}</dd></div>)}
    </dl>
  );
}

interface Shown extends Check {
  since?: string | undefined;
  state?: CheckState | undefined;
}

// Checks joins what Consul's catalog says with what ALPS knows beside it: since
// when, whether the change is confirmed, how long it took.
function Checks({ node }: { node: Node }) {
  const path = `/v1/nodes/${seg(node.name)}/checks`;
  const states = useLive(path, (s) => get<{ checks: CheckState[] }>(path, s), [`check@${node.name}`, `node@${node.name}`]);
  const known = new Map((states.data?.checks ?? []).map((c) => [c.result.check, c]));
  const list: Shown[] = (node.checks ?? []).map(believed).map((c) => {
    const state = known.get(c.id);
    return state
      ? { ...c, status: state.status, notes: c.notes || state.result.notes || "", output: state.result.output || c.output || "", since: state.since, state }
      : c;
  });
  // What is checked and is not in Consul's catalog, or not yet, is shown too.
  const listed = new Set(list.map((c) => c.id));
  for (const s of known.values()) {
    if (listed.has(s.result.check)) continue;
    const r = s.result;
    list.push({ id: r.check, name: r.name, status: s.status, service: r.service ?? "", notes: r.notes ?? "", output: r.output ?? "", since: s.since, state: s });
  }
  list.sort((a, b) => rank(a.status) - rank(b.status) || a.name.localeCompare(b.name));
  return (
    <Section title={t("checks")} count={list.length}>
      {list.length === 0 && <Empty title={t("checks.none")} />}
      {list.map((c) => <CheckLine key={c.id} check={c} node={node.name} />)}
    </Section>
  );
}

function CheckLine({ check: c, node }: { check: Shown; node: string }) {
  const r = c.state?.result;
  return (
    <div class={`check tall ${c.status}`}>
      <div class="checkhead">
        <HealthMark health={c.status} />
        <strong>{c.name}</strong>
        <span class="dim">({c.id})</span>
        {c.service && <a class="tag" href={href("services", c.service)}>{c.service}</a>}
        {r?.flapping && <span class="tag warn">{t("check.flapping")}</span>}
        {c.state?.agent_lost && <span class="tag warn">{t("check.agentlost")}</span>}
        {r && r.status !== r.hard && <span class="tag">{t("check.soft", { n: r.attempt, of: r.attempts })}</span>}
        <span class="end dim small">
          {c.since && <>{t("since")} <Ago at={c.since} /></>}
          {r && r.took > 0 && <> · {nanos(r.took)}</>}
          {r && c.state?.source === "link" && r.kind && <RunNow check={c.id} node={node} />}
        </span>
      </div>
      {c.notes && <p class="dim">{c.notes}</p>}
      {c.output ? <Clipped text={c.output} lines={8} label={c.name} /> : <p class="dim small">{t("check.silent")}</p>}
    </div>
  );
}

function RunNow({ check, node }: { check: string; node: string }) {
  const [said, say] = useState("");
  const run = async () => {
    say("…");
    try {
      const a = await post<{ missed?: Record<string, string> }>("/v1/checks/run", { check, target: `name=${quoted(node)}` });
      say(a.missed?.[node] ?? t("check.asked"));
    } catch (e) {
      say((e as ApiError).message || t("offline"));
    }
  };
  return said ? <span role="status"> · {said}</span> : <> · <button type="button" class="link small" onClick={() => void run()}>{t("check.run")}</button></>;
}

function Services({ node }: { node: Node }) {
  const list = node.services ?? [];
  return (
    <Section title={t("services")} count={list.length}>
      {list.length === 0 ? <Empty title={t("services.nonehere")} /> : (
        <table>
          <thead><tr><th>{t("col.name")}</th><th>{t("col.address")}</th><th>{t("col.tags")}</th></tr></thead>
          <tbody>{list.map((s) => (
            <tr key={s.id}><td><a href={href("services", s.name)}>{s.name}</a>{s.id !== s.name && <span class="dim"> {s.id}</span>}</td>
              <td><code>{s.address || node.address}{s.port ? `:${s.port}` : ""}</code></td>
              <td>{s.tags?.map((tag) => <span key={tag} class="tag">{tag}</span>)}</td></tr>
          ))}</tbody>
        </table>
      )}
    </Section>
  );
}

function Sessions({ name }: { name: string }) {
  const path = `/v1/nodes/${seg(name)}/sessions`;
  const { data, error } = useLive(path, (s) => get<{ sessions: LockSession[] }>(path, s), [`node@${name}`], 5000);
  const list = data?.sessions ?? [];
  return (
    <Section title={t("sessions")} count={list.length}>
      {error && <Fault error={error} />}
      {data && list.length === 0 && <Empty title={t("sessions.none")} />}
      {list.length > 0 && (
        <table>
          <thead><tr><th>{t("col.session")}</th><th>{t("col.behavior")}</th><th>TTL</th><th>{t("col.delay")}</th><th>{t("col.keys")}</th></tr></thead>
          <tbody>{list.map((s) => (
            <tr key={s.id}><td>{s.name || "–"}<br /><code class="small dim">{s.id}</code></td><td>{s.behavior}</td>
              <td>{s.ttl ? nanos(s.ttl) : "–"}</td><td>{s.lock_delay ? nanos(s.lock_delay) : "–"}</td>
              <td>{s.keys.length === 0 ? <span class="dim">{t("sessions.nokeys")}</span> : s.keys.map((k) => <div key={k}><a href={href("kv", "", { key: k })}><code>{k}</code></a></div>)}</td></tr>
          ))}</tbody>
        </table>
      )}
    </Section>
  );
}

function Configuration({ name }: { name: string }) {
  const path = `/v1/nodes/${seg(name)}/config`;
  const { data, error } = useLive(path, (s) => get<Settings>(path, s), ["kv", `node@${name}`], 5000);
  const list = data?.settings ?? [];
  return (
    <Section title={t("config")} count={list.length}
      side={data?.delivered && <span class="dim small" title={absolute(data.delivered)}>{t("config.delivered")} <Ago at={data.delivered} /></span>}>
      {error && <Fault error={error} />}
      {data && list.length === 0 && <Empty title={t("config.none")}><p class="dim">{t("config.how")} <code>alps/config/node/{name}/…</code></p></Empty>}
      {list.length > 0 && (
        <table>
          <thead><tr><th>{t("col.name")}</th><th>{t("col.value")}</th><th>{t("col.from")}</th></tr></thead>
          <tbody>{list.map((s) => (
            <tr key={s.name}><td><code>{s.name}</code></td><td><code class="break">{s.value}</code></td>
              <td><a href={href("kv", "", { key: s.from })}><code>{s.from}</code></a>
                {s.over?.map((k) => <div key={k} class="dim small">{t("config.over")} <code>{k}</code></div>)}</td></tr>
          ))}</tbody>
        </table>
      )}
    </Section>
  );
}

function RecentJobs({ name }: { name: string }) {
  const { data, error } = useLive(`jobs of ${name}`, (s) => get<{ jobs: Job[] }>(url("/v1/jobs", { node: name, limit: 5 }), s), ["job"], 3000);
  return (
    <Section title={t("node.jobs")}>
      {error && <Fault error={error} />}
      {data && (data.jobs.length === 0 ? <Empty title={t("jobs.none")} /> : <JobRows jobs={data.jobs} bare />)}
    </Section>
  );
}

function RecentIncidents({ name }: { name: string }) {
  const { data, error } = useLive(`incidents of ${name}`,
    (s) => get<IncidentList>(url("/v1/incidents", { q: `name=${quoted(name)}`, limit: 5 }), s), ["incident"], 2000);
  return (
    <Section title={t("node.incidents")}>
      {error && <Fault error={error} />}
      {data && (data.incidents.length === 0 ? <Empty title={t("incidents.none")} /> : <IncidentRows incidents={data.incidents} bare />)}
    </Section>
  );
}
