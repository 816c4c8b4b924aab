import { t, word } from "./i18n";
import { StateBar, StateWords, total } from "./jobstate";
import { href } from "./router";
import type { Job } from "./types";
import { Ago } from "./widgets";

export function JobRows({ jobs }: { jobs: Job[] }) {
  return (
    <table class="jobs">
      <thead><tr><th>{t("col.job")}</th><th>{t("col.target")}</th><th class="num">{t("col.ok")}</th><th>{t("col.states")}</th><th>{t("col.author")}</th><th>{t("col.when")}</th></tr></thead>
      <tbody>
        {jobs.map((j) => (
          <tr key={j.id} data-row={j.id}>
            <td class="what"><a href={href("jobs", j.id)}><span class="mono">{j.title}</span></a><br /><code class="small dim">{j.id}</code></td>
            <td class="cut"><code>{j.target}</code></td>
            <td class="num">{j.counts.OK ?? 0}/{total(j)}</td>
            <td class="wide"><StateBar job={j} />
              {!j.ended && j.phase !== "run" && <span class="tag warn">{word("phase", j.phase)}</span>}<StateWords job={j} /></td>
            <td>{j.author}</td>
            <td class="nowrap"><Ago at={j.created} /></td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
