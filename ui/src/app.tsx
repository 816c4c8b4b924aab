import { useEffect, useState } from "preact/hooks";
import { ACLPage } from "./acl";
import { AlertsPage } from "./alerts";
import { get, setToken, token } from "./api";
import { absolute, clock } from "./format";
import { Header } from "./header";
import { Help } from "./help";
import { t } from "./i18n";
import { JobsPage } from "./jobs";
import { listenToKeys } from "./keys";
import { KVPage } from "./kv";
import { useLive } from "./live";
import { Login } from "./login";
import { NodesPage } from "./nodes";
import { RunPage } from "./remedy";
import { usePlace, type Place } from "./router";
import { ServicesPage } from "./services";
import { onStale, staleSince } from "./stream";
import type { Datacenter, Status } from "./types";
import { Empty, Icon } from "./widgets";

// Estate is what every page may know: the datacenters, the one that is looked
// at, and what the server says of itself.
export interface Estate {
  dc: string;
  dcs: Datacenter[];
  status?: Status | undefined;
}

export function App() {
  const [, look] = useState(0);
  const [known, setKnown] = useState(token());
  useEffect(() => {
    const redraw = () => look((n) => n + 1);
    const changed = () => setKnown(token());
    window.addEventListener("alps:look", redraw);
    window.addEventListener("alps:token", changed);
    return () => {
      window.removeEventListener("alps:look", redraw);
      window.removeEventListener("alps:token", changed);
    };
  }, []);
  return known ? <Frame key={known} /> : <Login onToken={setToken} />;
}

function Frame() {
  const at = usePlace();
  const [help, setHelp] = useState(false);
  const status = useLive("status", (s) => get<Status>("/v1/status", s), ["node"], 10_000);
  const dcs = useLive("dcs", (s) => get<{ datacenters: Datacenter[] }>("/v1/datacenters", s), ["node"], 10_000);
  useEffect(() => listenToKeys(() => setHelp(true)), []);
  useEffect(() => {
    document.title = [at.id, t(`tab.${pageName(at)}`), "ALPS"].filter(Boolean).join(" · ");
  });

  const list = dcs.data?.datacenters ?? [];
  const own = list.find((d) => d.own)?.name ?? list[0]?.name ?? "";
  const estate: Estate = { dc: at.query.get("dc") ?? own, dcs: list, status: status.data };
  return (
    <>
      <a class="skip" href="#main" onClick={(e) => { e.preventDefault(); document.getElementById("main")?.focus(); }}>{t("skip")}</a>
      <Header at={at} estate={estate} onHelp={() => setHelp(true)} />
      <Stale status={status.data} />
      <main id="main" tabIndex={-1}>{dcs.loading ? null : <Page at={at} estate={estate} />}</main>
      {help && <Help onClose={() => setHelp(false)} />}
    </>
  );
}

function pageName(at: Place) {
  return (["services", "nodes", "kv", "acl", "jobs", "alerts"] as const).find((p) => p === (at.page === "remedy" ? "alerts" : at.page)) ?? "services";
}

function Page({ at, estate }: { at: Place; estate: Estate }) {
  switch (at.page) {
    case "services": return <ServicesPage at={at} estate={estate} />;
    case "nodes": return <NodesPage at={at} estate={estate} />;
    case "kv": return <KVPage at={at} estate={estate} />;
    case "acl": return <ACLPage estate={estate} />;
    case "jobs": return <JobsPage at={at} />;
    case "alerts": return <AlertsPage at={at} />;
    case "remedy": return <RunPage key={at.id} id={at.id} />;
  }
  return <Empty title={t("nopage")} />;
}

// Stale says since when what is shown may be old: the stream of changes is
// lost, or the server itself has trouble.
function Stale({ status }: { status: Status | undefined }) {
  const [since, set] = useState(staleSince());
  useEffect(() => onStale(() => set(staleSince())), []);
  const problems = status?.detail?.problems ?? [];
  return (
    <div aria-live="polite" class="banners">
      {since > 0 && <p class="banner bad"><Icon shape="warn" /><span title={absolute(since)}>{t("stale", { at: clock(since) })}</span></p>}
      {problems.length > 0 && (
        <details class="banner warn">
          <summary><Icon shape="warn" /><span class="cut">{t("problems", { n: problems.length, first: problems[0]! })}</span></summary>
          {problems.map((p) => <p key={p}>{p}</p>)}
        </details>
      )}
    </div>
  );
}
