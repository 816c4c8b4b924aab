import { useState } from "preact/hooks";
import { ApiError, get, setToken } from "./api";
import { LookSwitches } from "./header";
import { t } from "./i18n";
import type { Status } from "./types";
import { Fault } from "./widgets";

export function Login({ onToken }: { onToken: (text: string) => void }) {
  const [text, set] = useState("");
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);

  // The token is tried before it is kept: a wrong one is told here and not by
  // a page that falls apart.
  const enter = async (e: Event) => {
    e.preventDefault();
    setBusy(true);
    setError(undefined);
    sessionStorage.setItem("alps.token", text.trim());
    try {
      const status = await get<Status>("/v1/status");
      if (!status.detail) throw new ApiError({ status: 401, code: "unauthorized", detail: t("login.refused") });
      onToken(text);
    } catch (err) {
      sessionStorage.removeItem("alps.token");
      setError(err as ApiError);
      if ((err as ApiError).code !== "offline") setToken("");
    } finally {
      setBusy(false);
    }
  };

  return (
    <main class="login">
      <div class="looks"><LookSwitches /></div>
      <form onSubmit={(e) => void enter(e)}>
        <h1><Brand /> ALPS</h1>
        <label for="token">{t("login.token")}</label>
        <input id="token" type="password" autocomplete="off" spellcheck={false} value={text} autoFocus required
          onInput={(e) => set(e.currentTarget.value)} />
        <p class="dim small">{t("login.where")} <code>ALPS_TOKEN</code></p>
        {error && <Fault error={error} />}
        <button type="submit" class="primary" disabled={busy || !text.trim()}>{t("login.enter")}</button>
      </form>
    </main>
  );
}

export function Brand() {
  return (
    <svg class="brand" viewBox="0 0 32 32" aria-hidden="true">
      <path d="M2 27 12.5 6l5.3 9.5L20.5 11 30 27z" fill="currentColor" />
    </svg>
  );
}
