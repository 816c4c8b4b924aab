import type { Problem } from "./types";

const tokenKey = "alps.token";

// ApiError is a problem that the server answered with, or the lack of any
// answer: its code is "offline" then.
export class ApiError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail);
  }
  get code() {
    return this.problem.code;
  }
}

// A token lives as long as its tab. One that comes in the address is taken out
// of it before anything else happens, so that it stays in no history.
export function takeTokenFromAddress() {
  const m = /^#token=(.+)$/.exec(location.hash);
  if (!m) return;
  setToken(decodeURIComponent(m[1]!));
  history.replaceState(history.state, "", location.pathname + location.search);
}

export const token = () => sessionStorage.getItem(tokenKey) ?? "";

export function setToken(text: string) {
  if (text) sessionStorage.setItem(tokenKey, text.trim());
  else sessionStorage.removeItem(tokenKey);
  window.dispatchEvent(new Event("alps:token"));
}

type Query = Record<string, string | number | string[] | undefined>;

export function url(path: string, query: Query = {}) {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(query)) {
    for (const one of Array.isArray(v) ? v : [v]) {
      if (one !== undefined && one !== "") q.append(k, String(one));
    }
  }
  const text = q.toString();
  return path + (text ? "?" + text : "");
}

// request sends one request and throws an ApiError for everything that is not
// a success. A token that is refused is dropped, which brings the login panel.
export async function request(method: string, address: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const used = token();
  const headers: Record<string, string> = {};
  if (used) headers["Authorization"] = "Bearer " + used;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let res: Response;
  try {
    res = await fetch(address, {
      method, headers, signal: signal ?? null, cache: "no-store", credentials: "omit", redirect: "error",
      body: body === undefined ? null : JSON.stringify(body),
    });
  } catch (e) {
    if (signal?.aborted) throw e;
    throw new ApiError({ status: 0, code: "offline", detail: "" });
  }
  if (res.ok) return res;
  const problem = await readProblem(res);
  if (res.status === 401 && used === token()) setToken("");
  throw new ApiError(problem);
}

async function readProblem(res: Response): Promise<Problem> {
  const plain = { status: res.status, code: "internal", detail: `${res.status} ${res.statusText}`.trim() };
  try {
    const p = (await res.json()) as Partial<Problem>;
    return { ...plain, ...p, detail: p.detail || plain.detail };
  } catch {
    return plain;
  }
}

async function json<T>(method: string, address: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const res = await request(method, address, body, signal);
  const text = await res.text();
  return (text ? JSON.parse(text) : undefined) as T;
}

export const get = <T>(address: string, signal?: AbortSignal) => json<T>("GET", address, undefined, signal);
export const post = <T>(address: string, body: unknown = {}) => json<T>("POST", address, body);
export const put = <T>(address: string, body: unknown) => json<T>("PUT", address, body);
export const del = (address: string) => json<void>("DELETE", address);

export const seg = encodeURIComponent;

export function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

export function base64Of(bytes: Uint8Array): string {
  let s = "";
  for (let i = 0; i < bytes.length; i += 0x8000) s += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(s);
}

// textOf returns the text that bytes are, or undefined for bytes that no
// editor could give back unchanged.
export function textOf(bytes: Uint8Array): string | undefined {
  try {
    const s = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    return /[\u0000-\u0008\u000e-\u001a\u001c-\u001f]/.test(s) ? undefined : s;
  } catch {
    return undefined;
  }
}
