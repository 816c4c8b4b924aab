import { useCallback, useMemo } from "preact/hooks";
import type { Estate } from "./app";
import { useNodes, type Line } from "./estate";
import { FilterBar, matches } from "./filter";
import { t, word } from "./i18n";
import { List } from "./list";
import { NodePage } from "./node";
import { href, type Place } from "./router";
import { healthParts } from "./services";
import { Bar, Empty, Fault, HealthMark, Loading, Section, rank } from "./widgets";

const row = 52;
const line = 22;

export function NodesPage({ at, estate }: { at: Place; estate: Estate }) {
  const { lines, loading, total, error } = useNodes(estate.dc);
  const name = at.query.get("name") ?? "";
  const status = at.query.get("status") ?? "";
  const expanded = at.query.get("expand") === "1";
  const items = useMemo(
    () => lines.filter((n) => (matches(n.name, name) || matches(n.address, name)) && (!status || n.health === status)),
    [lines, name, status],
  );
  const heightOf = useCallback((n: Line) => (expanded ? row + line * n.checks.length + 8 : row), [expanded]);
  const query = Object.fromEntries(at.query);
  return (
    <div class={at.id ? "split opened" : "split"}>
      <section class="master" aria-label={t("tab.nodes")}>
        <FilterBar name={name} status={status} expanded={expanded} shown={items.length} total={total} />
        {error && <Fault error={error} />}
        {loading && lines.length === 0 && <Loading />}
        {!loading && items.length === 0 && <Empty title={lines.length === 0 ? t("nodes.none") : t("filter.none")} />}
        <List label={t("tab.nodes")} items={items} keyOf={keyOf} heightOf={heightOf} selected={at.id}
          row={(n) => (
            <>
              <a class="line" href={href("nodes", n.name, query)} aria-current={n.name === at.id ? "true" : undefined}>
                <span class="head"><HealthMark health={n.health} quiet /><span class="name">{n.name}</span>
                  <span class="dim num">{n.address}</span></span>
                <span class="head sub">
                  <Bar parts={healthParts(n.counts)} label={t("checks")} />
                  <AgentWord line={n} />
                </span>
              </a>
              {expanded && (
                <ul class="inline">
                  {n.checks.map((c) => <li key={c.id}><HealthMark health={c.status} quiet /><span class="cut">{c.name}</span></li>)}
                </ul>
              )}
            </>
          )} />
      </section>
      <section class="detail" aria-label={t("detail")}>
        {at.id ? <NodePage key={at.id} name={at.id} /> : !loading && <Overview lines={lines} />}
      </section>
    </div>
  );
}

const keyOf = (n: Line) => n.name;

// AgentWord says the one thing of a node that a healthy line does not have:
// that Consul or ALPS has lost it.
function AgentWord({ line }: { line: Line }) {
  if (line.member && line.member !== "alive") return <span class="bad-text small">{word("member", line.member)}</span>;
  if (line.agent !== "linked") return <span class={line.agent === "lost" ? "warn-text small" : "dim small"}>{word("agent", line.agent)}</span>;
  return <span class="dim small">{line.role}</span>;
}

function Overview({ lines }: { lines: Line[] }) {
  const bad = lines
    .filter((n) => n.health !== "passing" || n.member !== "alive" || n.agent === "lost")
    .sort((a, b) => rank(a.health) - rank(b.health) || a.name.localeCompare(b.name));
  if (lines.length === 0) return null;
  if (bad.length === 0) return <Empty title={t("nodes.well")}><p class="dim">{t("choose.node")}</p></Empty>;
  return (
    <Section title={t("nodes.bad")} count={bad.length}>
      <ul class="rows">
        {bad.slice(0, 50).map((n) => (
          <li key={n.name}><a href={href("nodes", n.name)}><HealthMark health={n.health} /><span class="name">{n.name}</span>
            <span class="dim cut">{n.checks.filter((c) => c.status !== "passing").map((c) => c.name).join(", ")}</span><AgentWord line={n} /></a></li>
        ))}
      </ul>
      {bad.length > 50 && <p class="dim">{t("n.more", { n: bad.length - 50 })}</p>}
    </Section>
  );
}
