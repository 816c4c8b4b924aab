import { t, word } from "./i18n";
import { StateBar, StateWords, total } from "./jobstate";
import { href } from "./router";
import type { Job } from "./types";
import { Ago } from "./widgets";

export function JobRows({ jobs, bare }: { jobs: Job[]; bare?: boolean }) {
  return (
    <table class="jobs">
      <thead><tr><th>{t("col.job")}</th>{!bare && <th>{t("col.target")}</th>}<th class="num">{t("col.ok")}</th><th>{t("col.states")}</th>{!bare && <th>{t("col.author")}</th>}<th>{t("col.when")}</th></tr></thead>
      <tbody>
        {jobs.map((j) => (
          <tr key={j.id} data-row={j.id}>
            <td class="what"><a href={href("jobs", j.id)}><span class="mono">{j.title}</span></a><br /><span class="small dim"><code>{j.id}</code>{bare && ` · ${j.author}`}</span></td>
            {!bare && <td class="cut"><code>{j.target}</code></td>}
            <td class="num">{j.counts.OK ?? 0}/{total(j)}</td>
            <td class="wide"><StateBar job={j} />
              {!j.ended && j.phase !== "run" && <span class="tag warn">{word("phase", j.phase)}</span>}<StateWords job={j} /></td>
            {!bare && <td>{j.author}</td>}
            <td class="nowrap"><Ago at={j.created} /></td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
