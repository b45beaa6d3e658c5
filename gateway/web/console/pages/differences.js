// What an operator's act has changed, as lines that people read: "budget day $50 → $80".

import { money, withTimes } from "../ui.js";

/** Lists whose entries are told apart by their window, and the amount in them. */
const WINDOWED = { budgets: ["budget", "usd", money], images: ["pictures", "count", String] };
const NAMES = {
  revoked_at: "revoked", expires_at: "expires",
  "limits.runs_per_minute": "new orders per minute", "limits.concurrent_runs": "orders at the same time",
  "allow.max_n": "pictures in one order", "cache.scope": "cache", "cache.client_control": "passing the cache by",
};

/** [{name, before, after}], texts; `before` or `after` is null where there was, or is, nothing. */
export function differences(before, after) {
  const [was, is] = [flat(before), flat(after)];
  const names = [...new Set([...was.keys(), ...is.keys()])];
  const rows = names.map((name) => ({ name, before: was.get(name) ?? null, after: is.get(name) ?? null }));
  return rows.filter((row) => row.before !== row.after);
}

/** Every value in the document by its name, as text. */
function flat(document) {
  const found = new Map();
  for (const [name, value] of Object.entries(document ?? {})) put(found, name, value);
  return found;
}

function put(found, path, value) {
  if (value === null || value === undefined || value === "" || (Array.isArray(value) && !value.length)) return;
  const windowed = WINDOWED[path.split(".").at(-1)];
  if (windowed && Array.isArray(value) && value.every((one) => one?.per)) {
    const [noun, amount, shown] = windowed;
    for (const one of value) found.set(`${owner(path)}${noun} ${one.per}`, shown(Number(one[amount])));
  } else if (Array.isArray(value)) {
    found.set(named(path), value.map(text).join(", "));
  } else if (typeof value === "object") {
    for (const [name, inner] of Object.entries(value)) put(found, `${path}.${name}`, inner);
  } else {
    found.set(named(path), text(value));
  }
}

const text = (value) => (typeof value === "string" ? withTimes(value) : JSON.stringify(value));

/** In a reload whose it is: "team blue: ". */
function owner(path) {
  const [, team] = /^teams\.(.+?)(?:\.limits)?\.[a-z_]+$/.exec(path) ?? [];
  return team ? `team ${team}: ` : "";
}

function named(path) {
  const [, team, inner] = /^teams\.([^.]+)\.(.+)$/.exec(path) ?? [];
  const rest = inner ?? path;
  const words = NAMES[rest] ?? (team || /^(allow|limits|cache|defaults)\./.test(rest) ? rest.replace(/^(allow|limits|cache)\./, "").replace(/[._]/g, " ") : rest);
  return team ? `team ${team}: ${words}` : words;
}
