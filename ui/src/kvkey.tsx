import { useEffect, useState } from "preact/hooks";
import { ApiError, base64Of, bytesOf, del, get, put, textOf, url } from "./api";
import { bytes as size } from "./format";
import { t } from "./i18n";
import { folderOf } from "./kv";
import { useLive, usePoll } from "./live";
import { go, href } from "./router";
import type { KVPair } from "./types";
import { Clipped, CopyButton, Dialog, Fault, Loading, Note } from "./widgets";

export const maxValue = 512 << 10;

export const address = (key: string, dc: string) => url("/v1/kv/value", { key, dc });

// pretty is how a value is read; what is written is never changed by it.
function pretty(text: string): string | undefined {
  if (!/^\s*[[{]/.test(text)) return undefined;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return undefined;
  }
}

interface Props {
  name: string;
  dc: string;
  onGone: () => void;
}

export function KeyPane({ name, dc, onGone }: Props) {
  const live = useLive(`key ${dc} ${name}`, (s) => get<KVPair>(address(name, dc), s), ["kv"]);
  usePoll(live.reload);
  const [editing, edit] = useState(false);
  const [deleting, remove] = useState(false);
  const pair = live.data;
  const back = <a class="back" href={href("kv", "", { prefix: folderOf(name) })}>{t("back")}</a>;
  if (live.loading) return <>{back}<Loading /></>;
  if (!pair) return <>{back}{live.error && <Fault error={live.error} />}</>;
  const raw = bytesOf(pair.value);
  return (
    <article>
      {back}
      <header class="title"><h1 class="mono">{name}</h1><CopyButton text={name} label={t("kv.copykey")} /></header>
      <p class="dim small">{size(raw.length)} · {t("kv.index", { n: String(pair.index) })} · {t("kv.created", { n: String(pair.created) })}
        {pair.session && <> · {t("kv.locked")} <code>{pair.session}</code></>}</p>
      {live.error && <Fault error={live.error} />}
      {pair.protected && <Note><strong>{t("kv.protected")}</strong><p>{pair.protected}</p></Note>}
      {editing
        ? <Editor pair={pair} dc={dc} onDone={(saved) => { edit(false); if (saved) live.reload(); }} />
        : (
          <>
            <Value raw={raw} name={name} />
            {!pair.protected && (
              <div class="actions">
                {textOf(raw) !== undefined && <button type="button" class="primary" onClick={() => edit(true)}>{t("edit")}</button>}
                <button type="button" class="danger" onClick={() => remove(true)}>{t("delete")}</button>
              </div>
            )}
          </>
        )}
      {deleting && <DeleteDialog pair={pair} dc={dc} onClose={() => remove(false)} onGone={onGone} />}
    </article>
  );
}

function Value({ raw, name }: { raw: Uint8Array; name: string }) {
  const text = textOf(raw);
  const nice = text === undefined ? undefined : pretty(text);
  const [asIs, set] = useState(false);
  if (raw.length === 0) return <p class="dim">{t("kv.empty")}</p>;
  if (text === undefined) {
    return (
      <>
        <Note>{t("kv.binary", { size: size(raw.length) })} <Download bytes={raw} name={name} /></Note>
        <Clipped text={hex(raw.subarray(0, 1024))} lines={16} label={t("kv.value")} />
      </>
    );
  }
  return (
    <>
      {nice !== undefined && (
        <div class="tabs" role="group" aria-label={t("kv.form")}>
          <button type="button" aria-pressed={!asIs} onClick={() => set(false)}>{t("kv.pretty")}</button>
          <button type="button" aria-pressed={asIs} onClick={() => set(true)}>{t("kv.raw")}</button>
        </div>
      )}
      <Clipped text={nice !== undefined && !asIs ? nice : text} lines={60} label={t("kv.value")} />
    </>
  );
}

export function Download({ bytes, name }: { bytes: Uint8Array; name: string }) {
  const save = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([bytes as BlobPart], { type: "application/octet-stream" }));
    link.download = name.replace(/[^\w.-]+/g, "_");
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  };
  return <button type="button" class="link" onClick={save}>{t("download")}</button>;
}

function hex(b: Uint8Array): string {
  const lines: string[] = [];
  for (let i = 0; i < b.length; i += 16) {
    const row = [...b.subarray(i, i + 16)];
    const left = row.map((x) => x.toString(16).padStart(2, "0")).join(" ").padEnd(48);
    lines.push(`${i.toString(16).padStart(6, "0")}  ${left} ${row.map((x) => (x >= 32 && x < 127 ? String.fromCharCode(x) : ".")).join("")}`);
  }
  return lines.join("\n");
}

// Editor works on what was read when it was opened, and says so when somebody
// else was faster: nothing is written over unseen.
function Editor({ pair, dc, onDone }: { pair: KVPair; dc: string; onDone: (saved: boolean) => void }) {
  const [base, setBase] = useState(pair);
  const [text, set] = useState(() => textOf(bytesOf(pair.value)) ?? "");
  // A text box knows one kind of line end; the stored kind is kept.
  const crlf = /\r\n/.test(text) && !/(^|[^\r])\n/.test(text);
  const [ends] = useState(crlf ? "\r\n" : "\n");
  const [reason, setReason] = useState("");
  const [theirs, setTheirs] = useState<KVPair>();
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const body = new TextEncoder().encode(text);
  const changed = base64Of(body) !== base.value;

  useEffect(() => {
    if (pair.index !== base.index) setTheirs(pair);
  }, [pair.index]);

  const save = async () => {
    setBusy(true);
    setError(undefined);
    try {
      await put(address(base.key, dc), { value: base64Of(body), index: base.index, reason: reason || undefined });
      onDone(true);
    } catch (e) {
      const err = e as ApiError;
      if (err.code === "conflict") setTheirs(await get<KVPair>(address(base.key, dc)).catch(() => undefined));
      setError(err);
    } finally {
      setBusy(false);
    }
  };
  if (theirs) {
    const other = textOf(bytesOf(theirs.value));
    return (
      <div class="conflict">
        <Note tone="warn"><strong>{t("kv.conflict")}</strong><p>{t("kv.conflict.what")}</p></Note>
        <div class="two">
          <div><h3>{t("kv.theirs", { n: String(theirs.index) })}</h3><Clipped text={other ?? t("kv.notext")} lines={40} /></div>
          <div><h3>{t("kv.mine")}</h3><Clipped text={text} lines={40} /></div>
        </div>
        <div class="actions">
          <button type="button" class="primary" onClick={() => { setBase(theirs); setTheirs(undefined); setError(undefined); }}>{t("kv.keepmine")}</button>
          <button type="button" onClick={() => onDone(true)}>{t("kv.taketheirs")}</button>
        </div>
      </div>
    );
  }
  return (
    <form class="editor" onSubmit={(e) => { e.preventDefault(); void save(); }}>
      <textarea class="code" rows={18} spellcheck={false} aria-label={t("kv.value")} value={text} onInput={(e) => set(e.currentTarget.value.replace(/\n/g, ends))} />
      <Limits text={text} length={body.length} />
      <input type="text" maxLength={500} value={reason} placeholder={t("kv.reason")} aria-label={t("kv.reason")} onInput={(e) => setReason(e.currentTarget.value)} />
      {error && <Fault error={error} />}
      <div class="actions">
        <button type="submit" class="primary" disabled={busy || !changed || body.length > maxValue}>{t("save")}</button>
        <button type="button" onClick={() => onDone(false)}>{t("cancel")}</button>
      </div>
    </form>
  );
}

// Limits says what is wrong with a value before it is sent.
export function Limits({ text, length }: { text: string; length: number }) {
  const looksJSON = /^\s*[[{]/.test(text);
  return (
    <p class="small dim" aria-live="polite">
      <span class={length > maxValue ? "bad-text" : ""}>{t("kv.size", { size: size(length), max: size(maxValue) })}</span>
      {looksJSON && <> · {pretty(text) === undefined ? <span class="warn-text">{t("kv.badjson")}</span> : t("kv.goodjson")}</>}
    </p>
  );
}

function DeleteDialog({ pair, dc, onClose, onGone }: { pair: KVPair; dc: string; onClose: () => void; onGone: () => void }) {
  const [typed, set] = useState("");
  const [error, setError] = useState<ApiError>();
  const remove = async (e: Event) => {
    e.preventDefault();
    try {
      await del(url("/v1/kv/value", { key: pair.key, dc, index: pair.index }));
      onGone();
      go(href("kv", "", { prefix: folderOf(pair.key) }));
    } catch (err) {
      setError(err as ApiError);
    }
  };
  return (
    <Dialog title={t("kv.delete")} onClose={onClose}>
      <form onSubmit={(e) => void remove(e)}>
        <p>{t("kv.delete.what")} <code class="break">{pair.key}</code></p>
        <label>{t("confirm.type")}<input type="text" class="mono" value={typed} autoFocus autocomplete="off" spellcheck={false} onInput={(e) => set(e.currentTarget.value)} /></label>
        {error && <Fault error={error} />}
        <div class="actions">
          <button type="submit" class="danger" disabled={typed !== pair.key}>{t("delete")}</button>
          <button type="button" onClick={onClose}>{t("cancel")}</button>
        </div>
      </form>
    </Dialog>
  );
}
