import { useState } from "preact/hooks";
import { get, url } from "./api";
import { t, word } from "./i18n";
import { IncidentPage } from "./incident";
import { IncidentRows } from "./incidents";
import { useLive, useNow } from "./live";
import { PolicyPanel, RulePanel } from "./policies";
import { setQuery, type Place } from "./router";
import { useRowKeys } from "./rows";
import type { IncidentList } from "./types";
import { Empty, Fault, Loading, Section } from "./widgets";

export function AlertsPage({ at }: { at: Place }) {
  if (at.id) return <IncidentPage key={at.id} id={at.id} />;
  return <Alerts at={at} />;
}

const views = ["now", "closed", "rules", "policies"] as const;

function Alerts({ at }: { at: Place }) {
  const view = views.find((v) => v === at.query.get("view")) ?? "now";
  return (
    <div class="page">
      <header class="title"><h1>{t("tab.alerts")}</h1></header>
      <div class="tabs" role="group" aria-label={t("tab.alerts")}>
        {views.map((v) => <button key={v} type="button" aria-pressed={v === view} onClick={() => setQuery({ view: v === "now" ? "" : v }, false)}>{t(`alerts.${v}`)}</button>)}
      </div>
      {view === "rules" ? <RulePanel /> : view === "policies" ? <PolicyPanel /> : <Incidents at={at} closed={view === "closed"} />}
    </div>
  );
}

const lately = 3600_000;

// Lately keeps in sight what was closed a moment ago: what a policy repairs in
// a second would otherwise never have been seen.
function Lately() {
  const now = useNow(30_000);
  const { data } = useLive("lately", (s) => get<IncidentList>(url("/v1/incidents", { status: "closed", limit: 20 }), s), ["incident"]);
  const list = (data?.incidents ?? []).filter((i) => i.closed && now - new Date(i.closed).getTime() < lately);
  if (list.length === 0) return null;
  return <Section title={t("alerts.lately")} count={list.length}><IncidentRows incidents={list} /></Section>;
}

function Incidents({ at, closed }: { at: Place; closed: boolean }) {
  const name = (at.query.get("name") ?? "").trim().toLowerCase();
  const severity = at.query.get("severity") ?? "";
  const [limit, setLimit] = useState(200);
  const { data, error, loading } = useLive(`incidents ${closed} ${limit}`,
    (s) => get<IncidentList>(url("/v1/incidents", { status: closed ? "closed" : ["open", "acked"], limit }), s), ["incident"]);
  useRowKeys();
  const all = data?.incidents ?? [];
  const list = all.filter((i) => (!severity || i.severity === severity)
    && [i.summary, i.rule, i.node ?? "", i.check ?? "", i.owner ?? "", i.service ?? ""].some((x) => x.toLowerCase().includes(name)));
  return (
    <>
      <div class="filters" role="search">
        <input type="search" data-search value={at.query.get("name") ?? ""} placeholder={t("alerts.filter")} aria-label={t("alerts.filter")} onInput={(e) => setQuery({ name: e.currentTarget.value })} />
        <select aria-label={t("col.severity")} value={severity} onChange={(e) => setQuery({ severity: e.currentTarget.value }, false)}>
          <option value="">{t("alerts.any")}</option>
          {["critical", "warning", "info"].map((s) => <option key={s} value={s}>{word("severity", s)}</option>)}
        </select>
        <span class="dim small tally" aria-live="polite">{list.length === all.length ? t("n.incidents", { n: all.length }) : t("n.of", { n: list.length, total: all.length })}</span>
      </div>
      {loading && <Loading />}
      {error && <Fault error={error} />}
      {data && list.length === 0 && <Empty title={all.length ? t("filter.none") : closed ? t("incidents.none") : t("alerts.quiet")} />}
      {list.length > 0 && <IncidentRows incidents={list} />}
      {!closed && <Lately />}
      {data?.next && limit < 1000 && <button type="button" onClick={() => setLimit(Math.min(1000, limit * 2))}>{t("show.more")}</button>}
    </>
  );
}
