import { absolute, span } from "./format";
import { t, word } from "./i18n";
import { useNow } from "./live";
import { href } from "./router";
import type { Incident } from "./types";
import { Ago, Icon, type Shape } from "./widgets";

export function Severity({ severity }: { severity: string }) {
  const [shape, tone]: [Shape, string] = severity === "critical" ? ["bad", "bad"] : severity === "warning" ? ["warn", "warn"] : ["note", "info"];
  return <span class={`mark ${tone}`}><Icon shape={shape} />{word("severity", severity)}</span>;
}

export function IncidentState({ incident: i }: { incident: Incident }) {
  const [shape, tone]: [Shape, string] = i.status === "open" ? ["bell", "bad"] : i.status === "acked" ? ["person", "warn"] : ["good", "good"];
  return <span class={`mark ${tone}`}><Icon shape={shape} />{word("incident", i.status)}{i.status === "acked" && i.acked_by ? ` · ${i.acked_by}` : ""}</span>;
}

export const began = (i: Incident) => i.began ?? i.opened;

export function Lasted({ incident: i }: { incident: Incident }) {
  const now = useNow(i.closed ? 3600_000 : 5000);
  const ms = (i.closed ? new Date(i.closed).getTime() : now) - new Date(began(i)).getTime();
  return <span class="num" title={`${absolute(began(i))}${i.closed ? " – " + absolute(i.closed) : ""}`}>{span(Math.max(ms, 0))}</span>;
}

export function IncidentRows({ incidents, bare }: { incidents: Incident[]; bare?: boolean }) {
  return (
    <table class="incidents">
      <thead><tr><th>{t("col.severity")}</th><th>{t("col.problem")}</th>{!bare && <th>{t("col.node")}</th>}<th>{t("col.state")}</th><th>{t("since")}</th><th>{t("col.lasted")}</th>{!bare && <th>{t("col.owner")}</th>}</tr></thead>
      <tbody>
        {incidents.map((i) => (
          <tr key={i.id} data-row={i.id} class={i.status === "closed" ? "past" : ""}>
            <td class="nowrap"><Severity severity={i.severity} /></td>
            <td class="what"><a href={href("alerts", i.id)}>{i.summary || i.rule}</a><br /><span class="small dim">{[i.rule, i.check].filter(Boolean).join(" · ")}</span></td>
            {!bare && <td>{i.node ? <a href={href("nodes", i.node)}>{i.node}</a> : <span class="dim">–</span>}</td>}
            <td class="nowrap"><IncidentState incident={i} /></td>
            <td class="nowrap"><Ago at={began(i)} /></td>
            <td class="nowrap"><Lasted incident={i} /></td>
            {!bare && <td>{i.owner || <span class="dim">–</span>}</td>}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
