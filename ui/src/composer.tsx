import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, base64Of, get, post, textOf, url } from "./api";
import { bytes as size } from "./format";
import { t } from "./i18n";
import { go, href } from "./router";
import { splitWords } from "./shellwords";
import type { JobRequest, NodeList, Submission } from "./types";
import { CopyButton, Fault, HealthMark, Icon, Note, believed, worst } from "./widgets";

const maxScript = 1 << 20;

interface Script {
  name: string;
  bytes: Uint8Array;
}

const empty: Script = { name: "script.sh", bytes: new Uint8Array() };

const fresh = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join("");

// Composer makes a job. A submission that got no answer is sent again under the
// same token, and so never runs twice.
export function Composer({ target: given }: { target: string }) {
  const [kind, setKind] = useState<"script" | "command">("script");
  const [script, setScript] = useState(empty);
  const [line, setLine] = useState("");
  const [target, setTarget] = useState(given);
  const [args, setArgs] = useState("");
  const [runAs, setRunAs] = useState("");
  const [timeout, setTimeout_] = useState("");
  const [waves, setWaves] = useState({ canary: "", batch: "", max_fail: "", confirm: false });
  const [answer, setAnswer] = useState<{ sub: Submission; request: JobRequest }>();
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const once = useRef(fresh());

  const words = splitWords(args);
  const ready = target.trim() !== "" && words !== undefined
    && (kind === "command" ? line.trim() !== "" : script.bytes.length > 0 && script.bytes.length <= maxScript);

  const request = (): JobRequest => ({
    target: target.trim(),
    ...(kind === "command" ? { command: ["/bin/sh", "-c", line] } : { script: { name: script.name, body: base64Of(script.bytes) }, args: words ?? [] }),
    ...(runAs.trim() && { run_as: runAs.trim() }),
    ...(Number(timeout) > 0 && { timeout: Math.round(Number(timeout)) }),
    ...(Number(waves.canary) > 0 && { canary: Number(waves.canary) }),
    ...(waves.batch && { batch: waves.batch }),
    ...(waves.max_fail && { max_fail: waves.max_fail }),
    ...(waves.confirm && { confirm: true }),
    submit_token: once.current,
  });

  const submit = async (e: Event) => {
    e.preventDefault();
    setBusy(true);
    setError(undefined);
    try {
      const sent = request();
      const sub = await post<Submission>("/v1/jobs", sent);
      once.current = fresh();
      if (sub.job) go(href("jobs", sub.job.id));
      else setAnswer({ sub, request: sent });
    } catch (err) {
      if ((err as ApiError).code !== "offline") once.current = fresh();
      setError(err as ApiError);
    } finally {
      setBusy(false);
    }
  };

  return (
    <form class="page composer" onSubmit={(e) => void submit(e)}>
      <a class="back always" href={href("jobs")}>{t("back")}</a>
      <header class="title"><h1>{t("job.new")}</h1></header>
      <div class="tabs" role="group" aria-label={t("job.what")}>
        <button type="button" aria-pressed={kind === "script"} onClick={() => setKind("script")}>{t("job.script")}</button>
        <button type="button" aria-pressed={kind === "command"} onClick={() => setKind("command")}>{t("job.command")}</button>
      </div>
      {kind === "script" ? <ScriptBox script={script} onScript={setScript} /> : (
        <label>{t("job.line")}<input type="text" class="mono" value={line} spellcheck={false} placeholder="df -h /data* | tail -n +2" onInput={(e) => setLine(e.currentTarget.value)} /></label>
      )}
      <TargetBox target={target} onTarget={setTarget} />
      <div class="three">
        {kind === "script" && (
          <label>{t("job.args")}<input type="text" class="mono" value={args} spellcheck={false} placeholder="--dry-run" onInput={(e) => setArgs(e.currentTarget.value)} />
            <span class="small dim">{words === undefined ? <span class="bad-text">{t("job.args.bad")}</span> : words.length > 0 && words.map((w, i) => <code key={i} class="word">{w}</code>)}</span></label>
        )}
        <label>{t("job.timeout")}<input type="number" min="1" value={timeout} placeholder="7200" onInput={(e) => setTimeout_(e.currentTarget.value)} /></label>
        <label>{t("job.runas")}<input type="text" value={runAs} spellcheck={false} placeholder={t("job.runas.agent")} onInput={(e) => setRunAs(e.currentTarget.value)} /></label>
      </div>
      <details>
        <summary>{t("job.waves")}</summary>
        <div class="three">
          <label>{t("job.canary")}<input type="number" min="0" value={waves.canary} placeholder="0" onInput={(e) => setWaves({ ...waves, canary: e.currentTarget.value })} /></label>
          <label>{t("job.batch")}<input type="text" value={waves.batch} placeholder="10%" onInput={(e) => setWaves({ ...waves, batch: e.currentTarget.value })} /></label>
          <label>{t("job.maxfail")}<input type="text" value={waves.max_fail} placeholder="2" onInput={(e) => setWaves({ ...waves, max_fail: e.currentTarget.value })} /></label>
        </div>
        <label class="inlinecheck"><input type="checkbox" checked={waves.confirm} onChange={(e) => setWaves({ ...waves, confirm: e.currentTarget.checked })} />{t("job.confirm")}</label>
      </details>
      {error && <Fault error={error} />}
      {answer?.sub.draft && <DraftNote why={answer.sub.draft.why} request={answer.request} />}
      <div class="actions"><button type="submit" class="primary big" disabled={!ready || busy}><Icon shape="run" />{t("job.run")}</button></div>
    </form>
  );
}

function ScriptBox({ script, onScript }: { script: Script; onScript: (s: Script) => void }) {
  const [over, setOver] = useState(false);
  const text = textOf(script.bytes);
  const take = async (file: File | undefined) => {
    if (file) onScript({ name: file.name, bytes: new Uint8Array(await file.arrayBuffer()) });
  };
  const drop = (e: DragEvent) => {
    e.preventDefault();
    setOver(false);
    void take(e.dataTransfer?.files[0]);
  };
  return (
    <div class={over ? "scriptbox over" : "scriptbox"} onDragOver={(e) => { e.preventDefault(); setOver(true); }} onDragLeave={() => setOver(false)} onDrop={drop}>
      <div class="scripthead">
        <input type="text" class="mono" aria-label={t("job.scriptname")} value={script.name} maxLength={128} spellcheck={false} onInput={(e) => onScript({ ...script, name: e.currentTarget.value })} />
        <label class="button">{t("job.upload")}<input type="file" class="sr" onChange={(e) => void take(e.currentTarget.files?.[0])} /></label>
        <span class={script.bytes.length > maxScript ? "small bad-text" : "small dim"}>{t("job.size", { size: size(script.bytes.length), max: size(maxScript) })}</span>
        {script.bytes.length > 0 && <button type="button" class="link" onClick={() => onScript(empty)}>{t("clear")}</button>}
      </div>
      {text === undefined ? <Note>{t("job.binary")}</Note> : (
        <textarea class="code" rows={12} spellcheck={false} aria-label={t("job.script")} value={text}
          placeholder={`#!/bin/sh\n# ${t("job.paste")}`} onInput={(e) => onScript({ ...script, bytes: new TextEncoder().encode(e.currentTarget.value) })} />
      )}
    </div>
  );
}

// TargetBox says, while somebody types, whom the expression means now. The list
// is fixed by the server when the job is sent.
function TargetBox({ target, onTarget }: { target: string; onTarget: (s: string) => void }) {
  const [found, setFound] = useState<NodeList>();
  const [error, setError] = useState<ApiError>();
  useEffect(() => {
    const q = target.trim();
    const stop = new AbortController();
    if (!q) {
      setFound(undefined);
      setError(undefined);
      return;
    }
    const timer = setTimeout(() => {
      get<NodeList>(url("/v1/nodes", { q, limit: 8 }), stop.signal)
        .then((list) => { setFound(list); setError(undefined); })
        .catch((e: unknown) => { if (!stop.signal.aborted) { setError(e as ApiError); setFound(undefined); } });
    }, 250);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [target]);
  return (
    <div class="targetbox">
      <label>{t("job.target")}<input type="text" class="mono" value={target} spellcheck={false} autocomplete="off" required aria-invalid={!!error}
        placeholder="role=hadoop rack=11 status=passing" onInput={(e) => onTarget(e.currentTarget.value)} /></label>
      <div class="found" aria-live="polite">
        {error && <pre class="pointed">{pointed(target.trim(), error)}</pre>}
        {found && (found.total === 0
          ? <span class="bad-text">{t("job.nomatch")}</span>
          : <><b>{t("n.nodes", { n: found.total })}</b>
            {found.nodes.map((n) => <span key={n.name} class="sample"><HealthMark health={worst((n.checks ?? []).map((c) => believed(c).status))} quiet />{n.name}</span>)}
            {found.total > found.nodes.length && <span class="dim">{t("n.more", { n: found.total - found.nodes.length })}</span>}</>)}
        {!target && <span class="dim small">{t("job.grammar")} <code>role=hadoop</code> <code>bj-e-hadoop01-11-[203-213]</code> <code>mem_gb&gt;64 not rack=11</code> <code>all</code></span>}
      </div>
    </div>
  );
}

// pointed puts a caret under the column that the server complains of.
function pointed(q: string, error: ApiError): string {
  const said = error.problem.detail || t("offline");
  const m = /^(?:read the query: )?(?:parse query: )?(.*) \(column (\d+)\)$/.exec(said);
  const lines = m ? [q, " ".repeat(Number(m[2]) - 1) + "^ " + m[1]] : [said];
  return [...lines, error.problem.hint ?? ""].join("\n").trimEnd();
}

// DraftNote explains a job that the server may not sign: only who holds an
// operator's key can, where that key is.
function DraftNote({ why, request: r }: { why: string; request: JobRequest }) {
  const quote = (s: string) => (/^[\w@%+=:,./-]+$/.test(s) ? s : `'${s.replace(/'/g, `'\\''`)}'`);
  const flags: [string, string | number | undefined][] = [
    ["--key", "operator.key"], ["-t", r.target], ["-u", r.run_as], ["--timeout", r.timeout && `${r.timeout}s`],
    ["--canary", r.canary], ["--batch", r.batch], ["--max-fail", r.max_fail], ["--script", r.script && `./${r.script.name}`],
  ];
  const after = r.command?.slice(2) ?? r.args ?? [];
  const command = [
    "alps exec", ...flags.filter(([, v]) => v).map(([k, v]) => `${k} ${quote(String(v))}`), ...(r.confirm ? ["--confirm"] : []),
    ...(after.length > 0 ? ["--", ...after.map(quote)] : []),
  ].join(" ");
  return (
    <Note tone="warn">
      <strong>{t("draft.title")}</strong>
      <p>{why}</p>
      <p>{t("draft.how")}</p>
      <pre class="output">{command}</pre>
      <CopyButton text={command} />
    </Note>
  );
}
