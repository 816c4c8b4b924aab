import { useState } from "preact/hooks";
import { get, url } from "./api";
import { Composer } from "./composer";
import { t } from "./i18n";
import { JobPage } from "./job";
import { JobRows } from "./joblist";
import { useLive } from "./live";
import { href, setQuery, type Place } from "./router";
import { useRowKeys } from "./rows";
import type { Job } from "./types";
import { Empty, Fault, Loading } from "./widgets";

export function JobsPage({ at }: { at: Place }) {
  if (at.id === "new") return <Composer target={at.query.get("target") ?? ""} />;
  if (at.id) return <JobPage key={at.id} id={at.id} />;
  return <JobList at={at} />;
}

function JobList({ at }: { at: Place }) {
  const open = at.query.get("open") === "1";
  const name = at.query.get("name") ?? "";
  const [more, setMore] = useState(50);
  const { data, error, loading } = useLive(`jobs ${open} ${more}`,
    (s) => get<{ jobs: Job[]; next?: string }>(url("/v1/jobs", { open: open ? "true" : "", limit: more }), s), ["job"], 1500);
  useRowKeys();
  const has = (j: Job) => [j.title, j.target, j.author, j.id].some((x) => x.toLowerCase().includes(name.trim().toLowerCase()));
  const jobs = (data?.jobs ?? []).filter(has);
  return (
    <div class="page">
      <header class="title">
        <h1>{t("tab.jobs")}</h1>
        <a class="button primary" href={href("jobs", "new")}>{t("job.new")}</a>
      </header>
      <div class="filters" role="search">
        <input type="search" data-search value={name} placeholder={t("jobs.filter")} aria-label={t("jobs.filter")} onInput={(e) => setQuery({ name: e.currentTarget.value })} />
        <label class="inlinecheck"><input type="checkbox" checked={open} onChange={(e) => setQuery({ open: e.currentTarget.checked ? "1" : "" }, false)} />{t("jobs.open")}</label>
        <span class="dim small tally">{t("n.jobs", { n: jobs.length })}</span>
      </div>
      {loading && <Loading />}
      {error && <Fault error={error} />}
      {data && jobs.length === 0 && <Empty title={t("jobs.none")}><p><a class="button" href={href("jobs", "new")}>{t("jobs.first")}</a></p></Empty>}
      {jobs.length > 0 && <JobRows jobs={jobs} />}
      {data?.next && more < 1000 && <button type="button" onClick={() => setMore(Math.min(1000, more * 2))}>{t("show.more")}</button>}
    </div>
  );
}
