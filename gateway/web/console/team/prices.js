// What each choice of the form costs, and which of them would fit into what is left.

import { effect, signal } from "../vendor/preact.js";
import { away, get } from "../api.js";
import { has } from "../session.js";
import { FIELDS, model, settings } from "./order.js";

/** {of, usd, choices} of `GET team/v1/prices/{model}`, or null while it is not known. */
const found = signal(null);

/** The question that the form asks now: of a former one no price is shown. */
function asked() {
  const offer = model.value;
  return has.team.value && offer ? JSON.stringify({ model: offer.id, ...settings.value }) : "";
}

/** Keeps the prices those of the form, while a page shows them. → how to stop. */
export function watchPrices() {
  return effect(() => {
    const of = asked();
    if (!of || away.value || found.peek()?.of === of) return undefined;
    const abort = new AbortController();
    const { model: name, ...said } = JSON.parse(of);
    get("team", `team/v1/prices/${encodeURIComponent(name)}`, said, { signal: abort.signal }).then(
      (body) => (found.value = { of, ...body }),
      () => {}, // the estimate tells what is wrong
    );
    return () => abort.abort();
  });
}

/** The choices of a field with their prices: [{value, usd}]; null while they are not known. */
export function pricesOf(name) {
  return found.value?.of === asked() ? found.value.choices[name] : null;
}

/** Whether it makes a difference to the price what is chosen. */
export const differs = (choices) => new Set(choices?.map((one) => one.usd)).size > 1;

/**
 * What would fit into the money that is left, the best first: [{part, words, usd}], `part` to be put into the form.
 * One choice of each field at most, and fewer pictures; where neither will do alone, both.
 */
export function fitting(n, left) {
  const fits = (usd) => usd !== null && usd <= left + 1e-9;
  const better = Object.keys(FIELDS).flatMap((name) => {
    const values = (pricesOf(name) ?? []).filter((one) => one.value !== null && one.usd !== null && fits(one.usd * n));
    const best = values.sort((a, b) => a.usd - b.usd).at(-1);
    return best && best.value !== settings.value[name] ? [{ part: { [name]: best.value }, name, value: best.value, usd: best.usd * n }] : [];
  });
  const each = found.value?.of === asked() ? found.value.usd : null;
  const fewer = each > 0 ? Math.min(n - 1, Math.floor((left + 1e-9) / each)) : 0;
  const alone = fewer > 0 ? [...better, { part: { n: fewer }, name: "n", value: fewer, usd: each * fewer }] : better;
  return alone.length ? alone : both(n, left);
}

/** The choice that leaves the most pictures, and so many of them: [{part, n, …}], or none. */
function both(n, left) {
  const found = Object.keys(FIELDS).flatMap((name) => (pricesOf(name) ?? [])
    .filter((one) => one.value !== null && one.usd > 0 && one.value !== settings.value[name])
    .map(({ value, usd }) => ({ name, value, usd, n: Math.min(n, Math.floor((left + 1e-9) / usd)) })));
  const best = found.sort((a, b) => a.n - b.n).at(-1);
  if (!best?.n) return [];
  return [{ ...best, part: { [best.name]: best.value, n: best.n }, usd: best.usd * best.n }];
}
