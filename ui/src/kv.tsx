import { useCallback, useMemo, useState } from "preact/hooks";
import { get, url } from "./api";
import type { Estate } from "./app";
import { matches } from "./filter";
import { t } from "./i18n";
import { KeyPane } from "./kvkey";
import { NewKey } from "./kvnew";
import { List } from "./list";
import { useLive, usePoll } from "./live";
import { href, setQuery, type Place } from "./router";
import { Empty, Fault, Icon, Loading } from "./widgets";

export const folderOf = (key: string) => key.slice(0, key.replace(/\/$/, "").lastIndexOf("/") + 1);

// What ALPS keeps for itself; the server says the same of each key, this only
// tells it before a key is opened.
export const ownKey = (key: string) => key.startsWith("alps/") && !key.startsWith("alps/config/");

export function KVPage({ at, estate }: { at: Place; estate: Estate }) {
  const key = at.query.get("key") ?? "";
  const prefix = at.query.get("prefix") ?? folderOf(key);
  const name = at.query.get("name") ?? "";
  const [making, make] = useState(false);
  const list = useLive(`kv ${estate.dc} ${prefix}`,
    (s) => get<{ keys: string[] }>(url("/v1/kv", { prefix, dc: estate.dc }), s), ["kv"]);
  usePoll(list.reload);
  const keys = list.data?.keys;
  const items = useMemo(() => (keys ?? []).filter((k) => k !== prefix && matches(k.slice(prefix.length), name))
    .sort((a, b) => Number(b.endsWith("/")) - Number(a.endsWith("/")) || a.localeCompare(b)), [keys, prefix, name]);
  const heightOf = useCallback(() => 34, []);
  return (
    <div class={key || making ? "split opened" : "split"}>
      <section class="master" aria-label={t("tab.kv")}>
        <Crumbs prefix={prefix} />
        <div class="filters" role="search">
          <input type="search" data-search value={name} placeholder={t("kv.filter")} aria-label={t("kv.filter")} spellcheck={false}
            onInput={(e) => setQuery({ name: e.currentTarget.value })} />
          <button type="button" onClick={() => make(true)}>{t("kv.new")}</button>
          <span class="dim small tally" aria-live="polite">{t("n.keys", { n: items.length })}</span>
        </div>
        {list.error && <Fault error={list.error} />}
        {list.loading && <Loading />}
        {keys && items.length === 0 && <Empty title={keys.length === 0 ? t("kv.none") : t("filter.none")} />}
        <List label={t("tab.kv")} items={items} keyOf={same} heightOf={heightOf} selected={key}
          row={(k) => {
            const folder = k.endsWith("/");
            return (
              <a class="line key" href={href("kv", "", folder ? { prefix: k } : { prefix, key: k })} aria-current={k === key ? "true" : undefined}>
                <KeyIcon folder={folder} /><span class="name mono">{k.slice(prefix.length)}</span>
                {ownKey(k) && <span class="dim small">{t("kv.own")}</span>}
              </a>
            );
          }} />
      </section>
      <section class="detail" aria-label={t("detail")}>
        {making ? <NewKey dc={estate.dc} prefix={prefix} onClose={() => { make(false); list.reload(); }} />
          : key ? <KeyPane key={estate.dc + key} name={key} dc={estate.dc} onGone={list.reload} />
          : <Empty title={t("kv.choose")}><p class="dim">{t("kv.about")} <code>alps/config/</code></p></Empty>}
      </section>
    </div>
  );
}

const same = (k: string) => k;

function Crumbs({ prefix }: { prefix: string }) {
  const parts = prefix.split("/").filter(Boolean);
  return (
    <nav class="crumbs mono" aria-label={t("kv.path")}>
      <a href={href("kv")}>{t("kv.top")}</a>
      {parts.map((p, i) => (
        <span key={i}><span class="dim"> / </span><a href={href("kv", "", { prefix: parts.slice(0, i + 1).join("/") + "/" })}>{p}</a></span>
      ))}
    </nav>
  );
}

function KeyIcon({ folder }: { folder: boolean }) {
  if (!folder) return <Icon shape="doc" tone="none" />;
  return <svg class="icon folder" viewBox="0 0 16 16" aria-hidden="true"><path d="M1 3h5l1.5 2H15v8H1z" /></svg>;
}
