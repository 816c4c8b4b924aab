import { useEffect, useRef, useState } from "preact/hooks";
import { get, setToken } from "./api";
import type { Estate } from "./app";
import { language, setLanguage, t, type Key } from "./i18n";
import { useLive } from "./live";
import { Brand } from "./login";
import { href, setQuery, type Place } from "./router";
import { setTheme, theme, type Theme } from "./theme";
import type { IncidentList } from "./types";
import { Icon } from "./widgets";

interface Props {
  at: Place;
  estate: Estate;
  onHelp: () => void;
}

export function Header({ at, estate, onHelp }: Props) {
  const tab = (page: string) => (
    <a href={href(page)} aria-current={at.page === page ? "page" : undefined}>{t(`tab.${page}` as Key)}</a>
  );
  return (
    <header class="top">
      <a class="home" href={href("services")} aria-label="ALPS"><Brand /><span>ALPS</span></a>
      <nav aria-label={t("nav")}>
        {tab("services")}
        {tab("nodes")}
        {tab("kv")}
        {tab("acl")}
        <DatacenterSwitch estate={estate} />
        {tab("jobs")}
        <a href={href("alerts")} aria-current={at.page === "alerts" || at.page === "remedy" ? "page" : undefined}>{t("tab.alerts")}<OpenCount /></a>
      </nav>
      <div class="looks">
        <LookSwitches />
        <button type="button" class="plain" onClick={onHelp} aria-label={t("help.title")} title={`${t("help.title")} (?)`}>?</button>
        <button type="button" class="plain" onClick={() => setToken("")} title={estate.status?.detail?.name}>{t("logout")}</button>
      </div>
    </header>
  );
}

// OpenCount is how many incidents nobody has taken on.
function OpenCount() {
  const open = useLive("open", (s) => get<IncidentList>("/v1/incidents?status=open&limit=100", s), ["incident"], 2000);
  const n = open.data?.incidents.length ?? 0;
  if (n === 0) return null;
  return <span class="badge" aria-label={t("alerts.open.count", { n })}>{n >= 100 ? "99+" : n}</span>;
}

function DatacenterSwitch({ estate }: { estate: Estate }) {
  const [open, set] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!open) return;
    const away = (e: Event) => {
      if (!box.current?.contains(e.target as Node)) set(false);
    };
    const esc = (e: KeyboardEvent) => {
      if (e.key === "Escape") set(false);
    };
    document.addEventListener("pointerdown", away);
    document.addEventListener("keydown", esc);
    return () => {
      document.removeEventListener("pointerdown", away);
      document.removeEventListener("keydown", esc);
    };
  }, [open]);
  const name = estate.dc || estate.dcs[0]?.name || "–";
  return (
    <div class="dc" ref={box}>
      <button type="button" aria-haspopup="menu" aria-expanded={open} aria-label={t("dc.switch", { dc: name })} onClick={() => set(!open)}>
        {name.toUpperCase()}<span class="caret" aria-hidden="true" />
      </button>
      {open && (
        <div role="menu" class="menu">
          {estate.dcs.map((d) => (
            <button key={d.name} type="button" role="menuitemradio" aria-checked={d.name === estate.dc}
              onClick={() => { set(false); setQuery({ dc: d.own ? "" : d.name }, false); }}>
              <Icon shape={d.away ? "bad" : d.loaded ? "good" : "wait"} tone={d.away ? "bad" : d.loaded ? "good" : "none"} />
              <span class="grow">{d.name.toUpperCase()}</span>
              <span class="dim">{d.away ? t("dc.away") : d.loaded ? t("n.nodes", { n: d.nodes }) : t("loading")}</span>
            </button>
          ))}
        </div>
      )}
    </div>
  );
}

export function LookSwitches() {
  return (
    <>
      <button type="button" class="plain" lang={language() === "zh" ? "en" : "zh-CN"}
        onClick={() => setLanguage(language() === "zh" ? "en" : "zh")}>
        {language() === "zh" ? "EN" : "中文"}
      </button>
      <select class="plain" aria-label={t("theme")} value={theme()} onChange={(e) => setTheme(e.currentTarget.value as Theme)}>
        <option value="system">{t("theme.system")}</option>
        <option value="light">{t("theme.light")}</option>
        <option value="dark">{t("theme.dark")}</option>
      </select>
    </>
  );
}
