import { get, url } from "./api";
import type { Estate } from "./app";
import { t } from "./i18n";
import { useLive } from "./live";
import type { ACL, ACLEntry } from "./types";
import { Empty, Fault, Loading, Note, Section } from "./widgets";

export function ACLPage({ estate }: { estate: Estate }) {
  const { data, error, loading } = useLive(`acl ${estate.dc}`, (s) => get<ACL>(url("/v1/acl", { dc: estate.dc }), s), ["acl"], 10_000);
  return (
    <div class="page">
      <header class="title"><h1>ACL</h1><span class="dim">{estate.dc}</span></header>
      {loading && <Loading />}
      {error && <Fault error={error} />}
      {data && !data.enabled && (
        <Empty title={t("acl.off")}>
          <p class="dim">{t("acl.off.what")}</p>
          <pre class="output">{"acl {\n  enabled        = true\n  default_policy = \"deny\"\n}"}</pre>
        </Empty>
      )}
      {data?.enabled && (
        <>
          {data.why && <Note tone="warn">{data.why}</Note>}
          <Entries title={t("acl.tokens")} list={data.tokens} tokens />
          <Entries title={t("acl.policies")} list={data.policies} />
        </>
      )}
    </div>
  );
}

function Entries({ title, list, tokens }: { title: string; list: ACLEntry[]; tokens?: boolean }) {
  return (
    <Section title={title} count={list.length}>
      {list.length === 0 ? <Empty title={t("none")} /> : (
        <table>
          <thead><tr><th>{t("col.name")}</th><th>{t("col.description")}</th>{tokens && <th>{t("acl.policies")}</th>}<th>ID</th></tr></thead>
          <tbody>{list.map((e) => (
            <tr key={e.id}>
              <td>{e.name || "–"} {e.local && <span class="tag">{t("acl.local")}</span>}</td>
              <td>{e.description || <span class="dim">–</span>}</td>
              {tokens && <td>{e.policies?.map((p) => <span key={p} class="tag">{p}</span>)}</td>}
              <td><code class="small">{e.id}</code></td>
            </tr>
          ))}</tbody>
        </table>
      )}
    </Section>
  );
}
