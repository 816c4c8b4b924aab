import { t, word } from "./i18n";
import { setQuery } from "./router";
import type { Health } from "./types";
import { healths } from "./widgets";

interface Props {
  name: string;
  status: string;
  expanded: boolean;
  shown: number;
  total: number;
}

// FilterBar is what stands above a list: a name, a status, and EXPAND.
export function FilterBar({ name, status, expanded, shown, total }: Props) {
  return (
    <div class="filters" role="search">
      <input type="search" data-search value={name} placeholder={t("filter.name")} aria-label={t("filter.name")} spellcheck={false}
        onInput={(e) => setQuery({ name: e.currentTarget.value })} />
      <select aria-label={t("filter.status")} value={status} onChange={(e) => setQuery({ status: e.currentTarget.value }, false)}>
        <option value="">{t("filter.any")}</option>
        {healths.map((h) => <option key={h} value={h}>{word("health", h)}</option>)}
      </select>
      <button type="button" data-expand aria-pressed={expanded} onClick={() => setQuery({ expand: expanded ? "" : "1" }, false)}>
        {t("expand")}
      </button>
      <span class="dim small tally" aria-live="polite">{shown === total ? t("n.all", { n: total }) : t("n.of", { n: shown, total })}</span>
    </div>
  );
}

export function matches(name: string, wanted: string) {
  return name.toLowerCase().includes(wanted.trim().toLowerCase());
}

export const isHealth = (s: string): s is Health => (healths as string[]).includes(s);
