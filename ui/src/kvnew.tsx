import { useState } from "preact/hooks";
import { ApiError, base64Of, put } from "./api";
import { t } from "./i18n";
import { folderOf, ownKey } from "./kv";
import { address, Limits, maxValue } from "./kvkey";
import { go, href } from "./router";
import { Fault, Note } from "./widgets";

// NewKey makes a key that must not exist: index 0 says so to the server.
export function NewKey({ dc, prefix, onClose }: { dc: string; prefix: string; onClose: () => void }) {
  const [key, setKey] = useState(prefix);
  const [text, setText] = useState("");
  const [error, setError] = useState<ApiError>();
  const body = new TextEncoder().encode(text);
  const save = async (e: Event) => {
    e.preventDefault();
    try {
      await put(address(key, dc), { value: base64Of(body), index: 0 });
      onClose();
      go(href("kv", "", { prefix: folderOf(key), key }));
    } catch (err) {
      setError(err as ApiError);
    }
  };
  return (
    <form class="editor" onSubmit={(e) => void save(e)}>
      <header class="title"><h1>{t("kv.new")}</h1></header>
      <label>{t("kv.key")}<input type="text" class="mono" value={key} autoFocus required spellcheck={false} maxLength={1024} onInput={(e) => setKey(e.currentTarget.value)} /></label>
      {ownKey(key) && <Note tone="warn">{t("kv.ownwhy")}</Note>}
      <label>{t("kv.value")}<textarea class="code" rows={14} spellcheck={false} value={text} onInput={(e) => setText(e.currentTarget.value)} /></label>
      <Limits text={text} length={body.length} />
      {error && <Fault error={error} />}
      <div class="actions">
        <button type="submit" class="primary" disabled={!key || key.endsWith("/") || ownKey(key) || body.length > maxValue}>{t("create")}</button>
        <button type="button" onClick={onClose}>{t("cancel")}</button>
      </div>
    </form>
  );
}
