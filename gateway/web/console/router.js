// Which page is shown: the part of the address behind "#", as a signal.
//
// "#/runs/run-17?state=failed" is {page: "runs", rest: ["run-17"], query: {state: "failed"}}.

import { signal } from "./vendor/preact.js";

export const route = signal(read(location.hash));

addEventListener("hashchange", () => (route.value = read(location.hash)));

/** The address of a page, for an href. */
export function link(page, rest = [], query = {}) {
  const path = [page, ...rest].map(encodeURIComponent).join("/");
  const set = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const search = new URLSearchParams(set).toString();
  return `#/${path}${search && `?${search}`}`;
}

/** Goes to a page; `replace` leaves no step to go back to, as when a filter changes. */
export function go(page, rest = [], query = {}, { replace = false } = {}) {
  const to = link(page, rest, query);
  if (replace) {
    history.replaceState(null, "", to);
    route.value = read(to);
  } else {
    location.hash = to;
  }
}

function read(hash) {
  const [path, search = ""] = hash.replace(/^#\/?/, "").split("?");
  const [page, ...rest] = path.split("/").map(decoded);
  return { page, rest: rest.filter(Boolean), query: Object.fromEntries(new URLSearchParams(search)) };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
