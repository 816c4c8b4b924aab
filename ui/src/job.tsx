import { useEffect, useState } from "preact/hooks";
import { ApiError, bytesOf, get, post, request, seg } from "./api";
import { absolute, bytes as size, span } from "./format";
import { number, t, word } from "./i18n";
import { stateRank, stateTone, StateBar, StateCounts, StateMark, total } from "./jobstate";
import { Download } from "./kvkey";
import { useLive, useNow } from "./live";
import { href } from "./router";
import type { Group, Job, Output, Submission } from "./types";
import { Ago, Clipped, CopyButton, Dialog, Fault, Loading, Note, Section } from "./widgets";

export function JobPage({ id }: { id: string }) {
  const path = `/v1/jobs/${seg(id)}`;
  const { data: job, error, loading, reload } = useLive(path, (s) => get<Job>(path, s), [`job/${id}`], 600);
  const back = <a class="back always" href={href("jobs")}>{t("back")}</a>;
  if (loading) return <div class="page">{back}<Loading /></div>;
  if (!job) return <div class="page">{back}{error && <Fault error={error} />}</div>;
  const groups = [...(job.groups ?? [])].sort((a, b) => stateRank(a.state) - stateRank(b.state) || b.count - a.count);
  return (
    <article class="page">
      {back}
      <header class="title">
        <h1 class="mono">{job.title}</h1>
        <span class={`phase ${job.ended ? "" : "live"}`}>{job.ended ? t("job.ended") : word("phase", job.phase)}</span>
        <Steer job={job} onDone={reload} />
      </header>
      {error && <Fault error={error} />}
      <div class="progress">
        <StateBar job={job} />
        <StateCounts job={job} />
      </div>
      <Lines job={job} />
      {job.stopped && <Note tone="warn"><strong>{t("job.stopped")}</strong><p>{job.stopped}</p></Note>}
      {job.unpublished && job.unpublished.length > 0 && <Note tone="warn">{t("job.unpublished", { dcs: job.unpublished.join(", ") })}</Note>}
      {job.hidden ? <Note>{t("job.hidden", { n: job.hidden })}</Note> : null}
      <Section title={t("job.groups")} count={groups.length}>
        {groups.map((g, i) => <GroupCard key={sameGroup(g)} job={job} group={g} open={i < 6} />)}
      </Section>
    </article>
  );
}

// sameGroup names a group while nodes join it: its id does not.
const sameGroup = (g: Group) => [g.state, g.reason, g.code, g.signal, g.stdout?.digest, g.stderr?.digest].join("\n");

function Lines({ job }: { job: Job }) {
  const now = useNow(1000);
  const took = (job.ended ? new Date(job.ended).getTime() : now) - new Date(job.created).getTime();
  const woke = Object.entries(job.woke ?? {}).filter(([, n]) => n > 0);
  return (
    <dl class="facts">
      <div><dt>{t("col.target")}</dt><dd><code>{job.target}</code></dd></div>
      <div><dt>{t("col.job")}</dt><dd><code>{job.id}</code> <CopyButton text={job.id} /></dd></div>
      <div><dt>{t("col.author")}</dt><dd>{job.author}{job.signer && ` · ${t("job.signer", { who: job.signer })}`}</dd></div>
      <div><dt>{t("col.when")}</dt><dd><Ago at={job.created} /> · {span(Math.max(took, 0))}</dd></div>
      {!job.ended && <div><dt>{t("job.expires")}</dt><dd>{absolute(job.expires)}</dd></div>}
      {job.waves > 1 && <div><dt>{t("job.wave")}</dt><dd>{t("job.wave.of", { n: job.wave + 1, of: job.waves })}</dd></div>}
      {woke.length > 0 && <div><dt>{t("job.woke")}</dt><dd>{woke.map(([how, n]) => `${how} ${number(n)}`).join(" · ")}</dd></div>}
    </dl>
  );
}

function Steer({ job, onDone }: { job: Job; onDone: () => void }) {
  const [asking, ask] = useState(false);
  const [error, setError] = useState<ApiError>();
  const [draft, setDraft] = useState("");
  if (job.ended) return <a class="button" href={href("jobs", "new", { target: job.target })}>{t("job.again")}</a>;
  const steer = async (what: string) => {
    ask(false);
    setError(undefined);
    try {
      const sub = await post<Submission>(`/v1/jobs/${job.id}/${what}`);
      setDraft(sub.draft ? `alps job ${what} --key operator.key ${job.id}` : "");
      onDone();
    } catch (e) {
      setError(e as ApiError);
    }
  };
  const open = total(job) - ["OK", "FAILED", "SIGNALED", "TIMEOUT", "CANCELLED", "REJECTED", "EXPIRED", "SKIPPED", "UNKNOWN"]
    .reduce((n, s) => n + (job.counts[s as "OK"] ?? 0), 0);
  return (
    <span class="steer">
      {job.waves > 1 && job.wave + 1 < job.waves && <button type="button" onClick={() => void steer("open-wave")}>{t("job.openwave")}</button>}
      {job.phase === "run" && job.waves > 1 && <button type="button" onClick={() => void steer("pause")}>{t("job.pause")}</button>}
      {job.phase === "pause" && <button type="button" onClick={() => void steer("resume")}>{t("job.resume")}</button>}
      {job.phase !== "cancel" && <button type="button" class="danger" onClick={() => ask(true)}>{t("job.cancel")}</button>}
      {error && <Fault error={error} />}
      {draft && <Note tone="warn"><strong>{t("draft.title")}</strong><p>{t("draft.how")}</p><pre class="output">{draft}</pre></Note>}
      {asking && (
        <Dialog title={t("job.cancel")} onClose={() => ask(false)}>
          <p>{t("job.cancel.what", { n: open })}</p>
          <div class="actions">
            <button type="button" class="danger" autoFocus onClick={() => void steer("cancel")}>{t("job.cancel.yes")}</button>
            <button type="button" onClick={() => ask(false)}>{t("job.cancel.no")}</button>
          </div>
        </Dialog>
      )}
    </span>
  );
}

// GroupCard is the nodes that fared alike: their names folded, what they wrote
// once.
function GroupCard({ job, group: g, open }: { job: Job; group: Group; open: boolean }) {
  const why = [g.reason, g.state === "FAILED" && g.code ? t("job.exit", { code: String(g.code) }) : "", g.signal].filter(Boolean).join(" · ");
  const silent = !g.stdout?.bytes && !g.stderr?.bytes;
  return (
    <details class={`group ${stateTone(g.state)}`} open={open}>
      <summary>
        <StateMark state={g.state} />
        <b class="num">{number(g.count)}</b>
        <span class="nodes mono">{g.nodes}</span>
        {why && <span class="dim">{why}</span>}
      </summary>
      <div class="groupbody">
        <p class="small"><CopyButton text={g.nodes} label={t("job.copynodes")} />
          {g.state !== "OK" && <a class="button small" href={href("jobs", "new", { target: g.nodes })}>{t("job.onthese")}</a>}</p>
        {g.stdout?.bytes ? <OutputBox job={job} output={g.stdout} name="stdout" /> : null}
        {g.stderr?.bytes ? <OutputBox job={job} output={g.stderr} name="stderr" /> : null}
        {silent && (g.state === "OK" || g.state === "FAILED") && <p class="dim small">{t("job.nooutput")}</p>}
        {g.state === "PENDING" && <p class="dim small">{t("job.pending")}</p>}
      </div>
    </details>
  );
}

function OutputBox({ job, output: o, name }: { job: Job; output: Output; name: string }) {
  const [got, set] = useState<Uint8Array | undefined>(() => (o.inline ? bytesOf(o.inline) : undefined));
  const [error, setError] = useState<ApiError>();
  useEffect(() => {
    if (o.inline || !o.digest) return;
    const stop = new AbortController();
    request("GET", `/v1/jobs/${job.id}/output/${o.digest}`, undefined, stop.signal)
      .then(async (r) => set(new Uint8Array(await r.arrayBuffer())))
      .catch((e: unknown) => { if (!stop.signal.aborted) setError(e as ApiError); });
    return () => stop.abort();
  }, [o.digest]);
  return (
    <div class="stream">
      <p class="small dim">{name} · {size(o.bytes ?? 0)}{o.truncated && ` · ${t("job.truncated")}`}
        {got && <> · <Download bytes={got} name={`${job.id}-${name}.txt`} /></>}</p>
      {error ? <Fault error={error} /> : got ? <Clipped text={new TextDecoder().decode(got)} lines={20} label={name} /> : <Loading />}
    </div>
  );
}
