import { useCallback, useMemo } from "preact/hooks";
import { get, seg, url } from "./api";
import type { Estate } from "./app";
import { FilterBar, matches } from "./filter";
import { t, word } from "./i18n";
import { List } from "./list";
import { useLive } from "./live";
import { here, href, type Place } from "./router";
import type { Health, ServiceDetail, ServiceSummary } from "./types";
import { Bar, Clipped, CopyButton, Empty, Fault, HealthMark, Loading, Section, believed, healths, rank } from "./widgets";

const topics = ["node", "check"];
const row = 52;
const line = 24;
const most = 6; // instances that EXPAND shows of one service.

export const serviceHealth = (s: ServiceSummary): Health =>
  s.critical > 0 ? "critical" : s.warning > 0 ? "warning" : s.passing > 0 ? "passing" : "unknown";

export const healthParts = (s: Record<Health, number>) =>
  healths.map((h) => ({ n: s[h], label: word("health", h), tone: { passing: "good", warning: "warn", critical: "bad", unknown: "none" }[h] }));

export function ServicesPage({ at, estate }: { at: Place; estate: Estate }) {
  const list = useLive(`services ${estate.dc}`, (s) => get<{ services: ServiceSummary[] }>(url("/v1/services", { dc: estate.dc }), s), topics);
  const name = at.query.get("name") ?? "";
  const status = at.query.get("status") ?? "";
  const expanded = at.query.get("expand") === "1";
  const all = list.data?.services;
  const items = useMemo(
    () => (all ?? []).filter((s) => matches(s.name, name) && (!status || (s[status as Health] ?? 0) > 0)),
    [all, name, status],
  );
  const heightOf = useCallback((s: ServiceSummary) => (expanded ? row + line * Math.min(s.instances, most + 1) + 6 : row), [expanded]);
  const query = Object.fromEntries(at.query);
  return (
    <div class={at.id ? "split opened" : "split"}>
      <section class="master" aria-label={t("tab.services")}>
        <FilterBar name={name} status={status} expanded={expanded} shown={items.length} total={all?.length ?? 0} />
        {list.error && <Fault error={list.error} />}
        {list.loading && <Loading />}
        {all && items.length === 0 && <Empty title={all.length === 0 ? t("services.none") : t("filter.none")} />}
        <List label={t("tab.services")} items={items} keyOf={keyOf} heightOf={heightOf} selected={at.id}
          row={(s) => (
            <>
              <a class="line" href={href("services", s.name, query)} aria-current={s.name === at.id ? "true" : undefined}>
                <span class="head"><HealthMark health={serviceHealth(s)} quiet /><span class="name">{s.name}</span>
                  <span class="dim num">{t("n.instances", { n: s.instances })}</span></span>
                <Bar parts={healthParts(s)} label={s.name} />
              </a>
              {expanded && <Inline service={s} />}
            </>
          )} />
      </section>
      <section class="detail" aria-label={t("detail")}>
        {at.id ? <Detail key={at.id} name={at.id} dc={estate.dc} /> : <Overview services={all ?? []} />}
      </section>
    </div>
  );
}

const keyOf = (s: ServiceSummary) => s.name;

function useDetail(name: string, dc: string) {
  return useLive(`service ${dc} ${name}`, (s) => get<ServiceDetail>(url(`/v1/services/${seg(name)}`, { dc }), s), topics);
}

// Inline is what EXPAND shows: it is read when the row comes into sight.
function Inline({ service }: { service: ServiceSummary }) {
  const { data } = useDetail(service.name, service.dc);
  const list = [...(data?.list ?? [])].sort((a, b) => rank(a.status) - rank(b.status));
  return (
    <ul class="inline">
      {list.slice(0, most).map((i) => (
        <li key={i.node + i.id}><HealthMark health={i.status} quiet /><span class="cut">{i.node}</span>
          <span class="dim cut">{i.checks.filter((c) => c.status === i.status).map((c) => c.name).join(", ")}</span></li>
      ))}
      {list.length > most && <li class="dim">{t("n.more", { n: list.length - most })}</li>}
    </ul>
  );
}

function Overview({ services }: { services: ServiceSummary[] }) {
  const bad = services.filter((s) => serviceHealth(s) !== "passing").sort((a, b) => rank(serviceHealth(a)) - rank(serviceHealth(b)));
  if (services.length === 0) return null;
  if (bad.length === 0) return <Empty title={t("services.well")}><p class="dim">{t("choose.service")}</p></Empty>;
  return (
    <Section title={t("services.bad")} count={bad.length}>
      <ul class="rows">
        {bad.slice(0, 50).map((s) => (
          <li key={s.name}><a href={href("services", s.name)}><HealthMark health={serviceHealth(s)} /><span class="name">{s.name}</span>
            <span class="dim">{t("n.ofinstances", { n: s.instances - s.passing, total: s.instances })}</span></a></li>
        ))}
      </ul>
    </Section>
  );
}

function Detail({ name, dc }: { name: string; dc: string }) {
  const { data: s, error, loading } = useDetail(name, dc);
  const back = <a class="back" href={href("services", "", here())}>{t("back")}</a>;
  if (loading) return <>{back}<Loading /></>;
  if (!s) return <>{back}{error && <Fault error={error} />}</>;
  const list = [...s.list].sort((a, b) => rank(a.status) - rank(b.status) || a.node.localeCompare(b.node));
  return (
    <article>
      {back}
      <header class="title">
        <h1>{s.name}</h1>
        <HealthMark health={serviceHealth(s)} />
        <span class="dim">{s.dc}</span>
        {s.tags?.map((tag) => <span key={tag} class="tag">{tag}</span>)}
      </header>
      {error && <Fault error={error} />}
      <div class="tallies">
        <Bar parts={healthParts(s)} label={s.name} />
        <p>{healthParts(s).filter((p) => p.n > 0).map((p) => <span key={p.label} class={`tallied ${p.tone}`}>{p.label} <b>{p.n}</b></span>)}</p>
      </div>
      <Section title={t("dns.names")}>
        {s.dns.length === 0 ? <Empty title={t("dns.none")} /> : <ul class="names">{s.dns.map((d) => <li key={d}><code>{d}</code><CopyButton text={d} /></li>)}</ul>}
      </Section>
      <Section title={t("instances")} count={list.length}>
        <ul class="cards">
          {list.slice(0, 500).map((i) => (
            <li key={i.node + i.id}><details open={i.status !== "passing"}>
              <summary class="cardhead"><HealthMark health={i.status} /><a class="name" href={href("nodes", i.node)}>{i.node}</a>
                <code>{i.address}{i.port ? `:${i.port}` : ""}</code>{i.id !== s.name && <span class="dim">{i.id}</span>}
                {i.tags?.map((tag) => <span key={tag} class="tag">{tag}</span>)}
                <span class="dim small end">{t("n.checks", { n: i.checks.length })}</span></summary>
              {i.checks.map(believed).sort((a, b) => rank(a.status) - rank(b.status)).map((c) => (
                <div key={c.id} class={`check ${c.status}`}>
                  <div class="checkhead"><HealthMark health={c.status} /><span>{c.name}</span><span class="dim">({c.id})</span></div>
                  {c.notes && <p class="dim">{c.notes}</p>}
                  {c.output && <Clipped text={c.output} lines={c.status === "passing" ? 2 : 8} />}
                </div>
              ))}
            </details></li>
          ))}
        </ul>
        {list.length > 500 && <p class="dim">{t("n.more", { n: list.length - 500 })}</p>}
      </Section>
    </article>
  );
}
