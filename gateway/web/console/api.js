// Requests to the gateway: the key from the session, errors as one class, lists page by page.
//
// Paths are relative to the gateway's own address ("admin/v1/teams"), wherever it is mounted.

import { signal, useCallback, useEffect, useRef, useState } from "./vendor/preact.js";
import { ROLES, forget, keep, keyOf } from "./session.js";

const BASE = new URL("../", import.meta.url);

/** An answer that is none of success, or no answer at all (`status` 0). */
export class ApiError extends Error {
  constructor(status, fields) {
    super(fields.message);
    this.status = status;
    this.code = fields.code ?? "";
    this.param = fields.param ?? "";
    this.requestId = fields.requestId ?? "";
    this.retryAfter = fields.retryAfter ?? null;
    this.extra = fields.extra ?? {};
  }
}

/** Whether the gateway gave no answer when it was last asked. Then it is asked again until it does. */
export const away = signal(false);

/** No answer of the gateway's own: none came, or what stands before it had none to pass on. */
export const isAway = (error) => error?.status === 0 || ([502, 503, 504].includes(error?.status) && !error.code);

/** The whole address of a path, with the query parameters that are set. */
function urlOf(path, query = {}) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, value);
  }
  return url;
}

const PICTURE = /\/(pictures\/[0-9a-f]+\.[a-z]+)$/;

/** A kept picture's address on this page's own origin: its public link may name another host. */
export function pictureUrl(url) {
  const found = PICTURE.exec(url);
  return found ? urlOf(found[1]).href : null;
}

/**
 * One request → {body, headers, status}. Throws `ApiError`; an aborted one throws as fetch does.
 *
 * It has no `cache` mode of its own: with "no-store" a browser says `Cache-Control: no-cache`, and to the
 * gateway that is the wish for a new picture.
 */
export async function ask(role, path, options = {}) {
  const key = options.key ?? keyOf(role);
  const answer = await fetched(urlOf(path, options.query), {
    method: options.method ?? "GET",
    headers: { Authorization: `Bearer ${key}`, ...typed(options.body), ...options.headers },
    body: packed(options.body),
    signal: options.signal,
    credentials: "omit",
  });
  if (answer.ok) return { body: await jsonOf(answer), headers: answer.headers, status: answer.status };
  const error = await errorOf(answer);
  if (error.status === 401 && options.key === undefined && key === keyOf(role)) {
    forget(role, `The gateway no longer takes this ${ROLES[role].name}: ${error.message}`);
  }
  throw error;
}

/** GET → the JSON. */
export async function get(role, path, query, options = {}) {
  return (await ask(role, path, { ...options, query })).body;
}

/** POST, PATCH, DELETE → the JSON. */
export async function send(role, method, path, body, options = {}) {
  return (await ask(role, path, { ...options, method, body })).body;
}

/** What no header can carry, such as the "…" behind the beginning of a key in a list of keys. */
const UNSENDABLE = /[^\x20-\xff]/u;

/** Tries a key, and keeps it if it opens its door. Throws `ApiError`. */
export async function signIn(role, key) {
  const strange = UNSENDABLE.exec(key);
  if (strange) throw new ApiError(401, { message: `No key has a “${strange[0]}” in it. Copy the whole key again.` });
  keep(role, key, await get(role, ROLES[role].summary, {}, { key }));
}

/** Saves an answer as a file, such as a report in CSV. */
export async function download(role, path, query, fileName) {
  const headers = { Authorization: `Bearer ${keyOf(role)}` };
  const answer = await fetched(urlOf(path, query), { headers, credentials: "omit" });
  if (!answer.ok) throw await errorOf(answer);
  saveBlob(await answer.blob(), fileName);
}

function saveBlob(blob, fileName) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = fileName;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/**
 * The answer to a GET, kept for a component: {data, error, loading, reload}. Asked again when the
 * path or the query changes; `path` null asks nothing. While it reloads, `data` stays.
 */
export function useData(role, path, query = {}) {
  const [state, setState] = useState({ data: null, error: null, loading: path !== null });
  const [turn, setTurn] = useState(0);
  const asked = JSON.stringify([path, query]);
  useEffect(() => {
    if (path === null) return setState({ data: null, error: null, loading: false });
    const abort = new AbortController();
    setState((old) => ({ ...old, loading: true }));
    get(role, path, query, { signal: abort.signal }).then(
      (data) => setState({ data, error: null, loading: false }),
      (error) => abort.signal.aborted || setState((old) => ({ ...old, error, loading: false })),
    );
    return () => abort.abort();
  }, [role, asked, turn]);
  return { ...state, reload: useCallback(() => setTurn((n) => n + 1), []) };
}

/**
 * A list that comes page by page: {rows, error, loading, more, reload}. `more` asks for the next
 * page, and is null when there is none.
 */
export function useList(role, path, query = {}) {
  const [state, setState] = useState({ rows: [], next: null, error: null, loading: true });
  const [turn, setTurn] = useState(0);
  const asked = JSON.stringify([path, query]);
  const current = useRef(null);
  const page = useCallback((cursor) => {
    current.current?.abort();
    const abort = (current.current = new AbortController());
    setState((old) => ({ ...old, loading: true }));
    get(role, path, { ...query, cursor }, { signal: abort.signal }).then(
      ({ data, next }) => setState((old) => ({
        rows: cursor ? [...old.rows, ...data] : data, next, error: null, loading: false,
      })),
      (error) => abort.signal.aborted || setState((old) => ({ ...old, error, loading: false })),
    );
    return abort;
  }, [role, asked]);
  useEffect(() => {
    const abort = page(undefined);
    return () => (abort.abort(), current.current?.abort());
  }, [page, turn]);
  return {
    ...state,
    more: state.next === null ? null : () => page(state.next),
    reload: useCallback(() => setTurn((n) => n + 1), []),
  };
}

async function fetched(url, options) {
  try {
    const answer = await fetch(url, options);
    away.value = [502, 503, 504].includes(answer.status) && !isJson(answer);
    return answer;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    away.value = true;
    throw new ApiError(0, { message: "The gateway did not answer. Check the connection and try again." });
  }
}

const isJson = (answer) => (answer.headers.get("Content-Type") ?? "").includes("json");

const KNOCK_MS = 3000;
let knocking = null;

/** While it is away it is asked whether it is back, every few seconds and when the network is. */
function knock() {
  clearTimeout(knocking);
  if (!away.peek()) return;
  fetched(urlOf("healthz"), { credentials: "omit", cache: "no-store" }).catch(() => {}).finally(again);
}

function again() {
  clearTimeout(knocking);
  if (away.peek()) knocking = setTimeout(knock, KNOCK_MS);
}

away.subscribe(again);
addEventListener("online", knock);

const typed = (body) => (body === undefined || body instanceof FormData ? {} : { "Content-Type": "application/json" });
const packed = (body) => (body === undefined || body instanceof FormData ? body : JSON.stringify(body));

async function jsonOf(answer) {
  const text = await answer.text();
  try {
    return text === "" ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

/** Both error shapes of the gateway, that of the file API included. */
async function errorOf(answer) {
  const body = await jsonOf(answer);
  const { code, message, param, type, ...extra } = body?.error ?? { code: body?.code, message: body?.msg };
  return new ApiError(answer.status, {
    code: String(code ?? ""),
    message: message || `The gateway answered ${answer.status}.`,
    param,
    extra,
    requestId: answer.headers.get("X-Request-Id") ?? "",
    retryAfter: Number(answer.headers.get("Retry-After")) || null,
  });
}
