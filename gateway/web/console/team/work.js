// Orders on their way: sent, followed until they end, and those that the team ordered last.

import { computed, effect, signal } from "../vendor/preact.js";
import { ask, away, get, isAway } from "../api.js";
import { ROLES, has, summaries } from "../session.js";
import { FRESH, REUSE, newId } from "./order.js";

const LAST = 20;
const MOST = 200;
const HOLD_SECONDS = 2;
const REFRESH_MS = 2500;
const AWAY_MS = 2000;
const ENDED = ["completed", "failed"];

/**
 * The order that the page shows, or null before the first: {key, body, phase: "sending" | "running" | "done" | "failed" |
 * "refused", id, progress, how: "hit" | "joined" | "started", order, error, fresh, ignored, since, until, again, counted}.
 * `order` is what `GET team/v1/orders` says of it, once it has ended; `counted`: the summary knows what it cost.
 */
export const shown = signal(null);

/** The team's last orders, newest first, as `GET team/v1/orders` tells them, and whether there are more. */
export const history = signal([]);
export const hasMore = signal(false);
export const historyError = signal(null);

export const running = computed(() => history.value.filter((one) => !ENDED.includes(one.state)).length);
export const completed = computed(() => history.value.filter((one) => one.state === "completed").length);

/** What an order said, as it would be sent again; null where that was erased. */
export const bodyOf = (order) => (order.prompt ? { ...order.settings, model: order.model, prompt: order.prompt } : null);

/** Sends an order and follows it; `fresh` makes a new picture even if there is one. */
export async function generate(body, { fresh = false } = {}) {
  const key = begin({ body, fresh, phase: "sending", since: Date.now() });
  try {
    const answer = await ask("team", "v1/images/generations", { method: "POST", body, headers: fresh ? FRESH : REUSE });
    const cacheStatus = answer.headers.get("Cache-Status") ?? "";
    update(key, { id: answer.body.id, how: howOf(cacheStatus), ignored: fresh && IGNORED.test(cacheStatus), phase: "running" });
    refresh();
    await follow(key, answer.body);
  } catch (error) {
    update(key, { error, phase: "refused", until: Date.now() });
  } finally {
    refresh();
    await refreshSummary();
    update(key, { counted: true });
  }
}

/** Shows an order of the history again, and follows it if it has not ended. */
export async function showAgain(order) {
  const ended = ENDED.includes(order.state);
  const key = begin({
    body: bodyOf(order), id: order.id, how: order.verdict, since: Date.parse(order.created_at), again: true,
    phase: ended ? phaseOf(order.state) : "running", progress: order.progress, order: ended ? order : null,
  });
  if (ended) return;
  await follow(key, { id: order.id, status: order.state, progress: order.progress }).catch((error) => update(key, { error, phase: "refused" }));
}

function begin(work) {
  shown.value = { ...work, key: newId() };
  return shown.value.key;
}

/** Only what is still shown is changed: the reader may have gone on to another. */
function update(key, part) {
  if (shown.value?.key === key) shown.value = { ...shown.value, ...part };
}

const phaseOf = (state) => (state === "completed" ? "done" : "failed");

async function follow(key, task) {
  while (!ENDED.includes(task.status)) {
    if (shown.value?.key !== key || !has.team.value) return;
    update(key, { progress: task.progress });
    task = await patiently(key, () => get("team", `v1/tasks/${task.id}`, {}, { headers: { Prefer: `wait=${HOLD_SECONDS}` } }), task);
  }
  const until = Date.now();
  const order = await patiently(key, () => orderOf(task.id), null);
  update(key, { order, phase: phaseOf(task.status), until });
}

/** The answer; while the gateway is away it is waited for, since what it makes it goes on to make. */
async function patiently(key, act, otherwise) {
  while (shown.value?.key === key && has.team.value) {
    try {
      return await act();
    } catch (error) {
      if (!isAway(error)) throw error;
      await new Promise((resolve) => setTimeout(resolve, AWAY_MS));
    }
  }
  return otherwise;
}

/** One order of the team by its task id, or null. */
async function orderOf(task) {
  return (await get("team", "team/v1/orders", { task })).data[0] ?? null;
}

/** The gateway's word that the wish for a new picture was not heard: its settings let nobody pass the cache by. */
const IGNORED = /;\s*detail=client-control-ignored\b/;

/** RFC 9211's words for what became of the order. */
function howOf(cacheStatus) {
  if (/;\s*hit\b/.test(cacheStatus)) return "hit";
  return /;\s*collapsed\b/.test(cacheStatus) ? "joined" : "started";
}

/** What the team has left, for everyone who shows it. */
export async function refreshSummary() {
  const summary = await get("team", ROLES.team.summary).catch(() => null);
  if (summary && has.team.value) summaries.team.value = summary;
}

/** The tightest of a list of limits in money, or null. */
export const tightest = (limits) => limits.filter((one) => (one.unit ?? one.measure) === "usd").sort((a, b) => a.left - b.left)[0] ?? null;

// --- the last ones -----------------------------------------------------------------------------

let timer = null;
let watchers = 0;
let limit = LAST;

/** Keeps the history fresh while a page shows it. → how to stop. */
export function watchHistory() {
  watchers += 1;
  refresh();
  return () => {
    watchers -= 1;
    clearTimeout(timer);
  };
}

/** Shows twenty more of them. */
export function showMore() {
  limit = Math.min(MOST, limit + LAST);
  refresh();
}

let turn = 0;

export async function refresh() {
  clearTimeout(timer);
  if (!has.team.value) return;
  const mine = (turn += 1);
  try {
    const { data, next } = await get("team", "team/v1/orders", { limit });
    if (mine !== turn || !has.team.value) return; // a later question has the newer answer
    history.value = data;
    hasMore.value = next !== null && limit < MOST;
    historyError.value = null;
  } catch (error) {
    if (mine === turn) historyError.value = isAway(error) ? null : error;
  }
  clearTimeout(timer);
  if (watchers && (running.value || away.value)) timer = setTimeout(refresh, REFRESH_MS);
}

effect(() => {
  if (has.team.value) return;
  shown.value = null;
  history.value = [];
  limit = LAST;
});
