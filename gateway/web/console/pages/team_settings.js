// A team's settings between the form and the API: texts on one side, the document on the other.

export const PER = [["hour", "hour"], ["day", "day"], ["week", "week"], ["month", "month"], ["total", "in all"]];

/** What the form shows for a team, or for a new one. */
export function formOf(team) {
  const { budgets, limits, allow, defaults, cache, mode, references } = team?.settings ?? {};
  const budgetsOf = team ? (budgets ?? []) : [{ usd: "", per: "month" }];
  const text = (value) => (value === null || value === undefined ? "" : String(value));
  return {
    name: team?.name ?? "",
    description: team?.description ?? "",
    mode: mode ?? "enforce",
    budgets: budgetsOf.map(({ usd, per }) => ({ amount: text(usd), per })),
    images: (limits?.images ?? []).map(({ count, per }) => ({ amount: text(count), per })),
    runs_per_minute: text(limits?.runs_per_minute),
    concurrent_runs: text(limits?.concurrent_runs),
    models: allow?.models ?? null,
    sizes: allow?.sizes ?? null,
    qualities: allow?.qualities ?? null,
    max_n: text(allow?.max_n),
    defaults: defaults ?? {},
    scope: text(cache?.scope),
    client_control: text(cache?.client_control),
    references: references ?? "trust",
  };
}

/** The document as the API takes it; null stands for "not set". */
function documentOf(form) {
  return {
    description: form.description.trim() || null,
    budgets: form.budgets.map(({ amount, per }) => ({ usd: numberOf(amount), per })),
    limits: {
      images: form.images.map(({ amount, per }) => ({ count: numberOf(amount), per })),
      runs_per_minute: numberOf(form.runs_per_minute),
      concurrent_runs: numberOf(form.concurrent_runs),
    },
    allow: { models: form.models, sizes: form.sizes, qualities: form.qualities, max_n: numberOf(form.max_n) },
    defaults: { size: null, quality: null, ...form.defaults },
    cache: { scope: form.scope || null, client_control: form.client_control || null },
    mode: form.mode,
    references: form.references,
  };
}

/** The body that makes a team: what is not set is left out. */
export function creation(form) {
  const { defaults, ...document } = without(documentOf(form));
  return { name: form.name.trim(), ...document, ...(Object.keys(defaults).length ? { defaults } : {}) };
}

/** The merge patch between two states of the form: only the parts that differ. */
export function patch(before, after) {
  const [old, now] = [documentOf(before), documentOf(after)];
  return Object.fromEntries(Object.entries(now).filter(([part, value]) => JSON.stringify(value) !== JSON.stringify(old[part])));
}

/** What is wrong before anything is sent, by field. */
export function problems(form) {
  const found = {};
  if (!form.name.trim()) found.name = "A team needs a name.";
  form.budgets.forEach(({ amount }, i) => {
    if (!(numberOf(amount) > 0)) found[`budgets.${i}.usd`] = "An amount above zero, in US dollars. Without a budget, remove the row.";
  });
  form.images.forEach(({ amount }, i) => {
    if (!whole(amount)) found[`limits.images.${i}.count`] = "A whole number above zero.";
  });
  for (const name of ["runs_per_minute", "concurrent_runs"]) {
    if (form[name].trim() && !whole(form[name])) found[`limits.${name}`] = "A whole number above zero, or nothing.";
  }
  if (form.max_n.trim() && !(whole(form.max_n) && Number(form.max_n) <= 10)) found["allow.max_n"] = "A whole number from 1 to 10, or nothing.";
  for (const name of ["models", "sizes", "qualities"]) {
    if (form[name]?.length === 0) found[`allow.${name}`] = "Choose at least one, or allow all.";
  }
  return found;
}

/**
 * The faults that the gateway found, by field: its message has a line for each, "budgets[0].usd: why".
 * `known(field)` says whether the form has that field; null when it has not all of them.
 */
export function faultsOf(error, known) {
  const found = {};
  for (const line of error.message.split("\n")) {
    const [, path = error.param, why = line] = /^([a-z_]+[\w.[\]]*): (.+)$/.exec(line) ?? [];
    const field = path.replace(/\[(\d+)\]/g, ".$1");
    if (!known(field)) return null;
    found[field] = why;
  }
  return found;
}

/** The values that the models offer, each once. `settings` is the answer of `GET settings`. */
export function offered(settings, limit) {
  const models = Object.values(settings?.models ?? {});
  return [...new Set(models.flatMap((model) => model?.limits?.[limit] ?? []))];
}

const numberOf = (text) => (text.trim() === "" ? null : Number(text));
const whole = (text) => Number.isInteger(Number(text)) && Number(text) > 0;

function without(value) {
  if (Array.isArray(value) || value === null || typeof value !== "object") return value;
  const kept = Object.entries(value).filter(([, part]) => part !== null).map(([name, part]) => [name, without(part)]);
  return Object.fromEntries(kept);
}
