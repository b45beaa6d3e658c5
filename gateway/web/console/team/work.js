// Orders on their way: sent, followed until they end, and the team's last twenty tasks.

import { computed, effect, signal } from "../vendor/preact.js";
import { ask, get, send } from "../api.js";
import { ROLES, has, summaries } from "../session.js";
import { FRESH, REUSE, estimate } from "./order.js";

const LAST = 20;
const HOLD_SECONDS = 2;
const REFRESH_MS = 2500;
const ENDED = ["completed", "failed"];
const ORDERS = "gateway.orders";

/**
 * The order that the page shows: {body, phase: "sending" | "running" | "done" | "failed" | "refused", task, how,
 * saved, ignored, error, since, until}. `how`: "hit", "joined", "new" or "" when it is not known. Null before the first.
 */
export const shown = signal(null);

/** The team's last tasks, newest first: [{id, status, created, model, results, prompt, body}]. */
export const history = signal([]);
export const historyError = signal(null);

export const running = computed(() => history.value.filter((one) => !ENDED.includes(one.status)).length);
export const completed = computed(() => history.value.filter((one) => one.status === "completed").length);

/** Sends an order and follows it; `fresh` makes a new picture even if there is one. */
export async function generate(body, { fresh = false } = {}) {
  const work = begin({ body, phase: "sending", since: Date.now() });
  try {
    const answer = await ask("team", "v1/images/generations", { method: "POST", body, headers: fresh ? FRESH : REUSE });
    remember(answer.body.id, body);
    const cacheStatus = answer.headers.get("Cache-Status") ?? "";
    const how = howOf(cacheStatus);
    update(work, { task: answer.body, how, ignored: fresh && IGNORED.test(cacheStatus), phase: "running" });
    if (how !== "new") savedBy(work, body);
    refresh();
    await follow(work, answer.body);
  } catch (error) {
    update(work, { error, phase: "refused", until: Date.now() });
  } finally {
    refresh();
    refreshSummary();
  }
}

/** Shows a task of the history again, and follows it if it has not ended. */
export async function showAgain(entry) {
  const body = entry.body ?? { model: entry.model, prompt: entry.prompt };
  const work = begin({ body, task: entry, phase: "running", how: "", since: entry.created * 1000, again: true });
  try {
    await follow(work, await get("team", `v1/tasks/${entry.id}`));
  } catch (error) {
    update(work, { error, phase: "refused" });
  }
}

function begin(work) {
  work.key = crypto.randomUUID();
  shown.value = work;
  return work.key;
}

/** Only what is still shown is changed: the reader may have gone on to another. */
function update(key, part) {
  if (shown.value?.key === key) shown.value = { ...shown.value, ...part };
}

async function follow(key, task) {
  while (!ENDED.includes(task.status)) {
    if (shown.value?.key !== key || !has.team.value) return;
    update(key, { task });
    task = await get("team", `v1/tasks/${task.id}`, {}, { headers: { Prefer: `wait=${HOLD_SECONDS}` } });
  }
  update(key, { task, phase: task.status === "completed" ? "done" : "failed", until: Date.now() });
}

/** The gateway's word that the wish for a new picture was not heard: its settings let nobody pass the cache by. */
const IGNORED = /;\s*detail=client-control-ignored\b/;

/** RFC 9211's words for what became of the order. */
function howOf(cacheStatus) {
  if (/;\s*hit\b/.test(cacheStatus)) return "hit";
  return /;\s*collapsed\b/.test(cacheStatus) ? "joined" : "new";
}

async function savedBy(key, body) {
  const found = await estimate(body).catch(() => null);
  if (found) update(key, { saved: found.price_usd });
}

/** What the team has left, for everyone who shows it. */
export async function refreshSummary() {
  const summary = await get("team", ROLES.team.summary).catch(() => null);
  if (summary && has.team.value) summaries.team.value = summary;
}

// --- the last twenty ---------------------------------------------------------------------------

let timer = null;
let watchers = 0;

/** Keeps the history fresh while a page shows it. → how to stop. */
export function watchHistory() {
  watchers += 1;
  refresh();
  return () => {
    watchers -= 1;
    clearTimeout(timer);
  };
}

export async function refresh() {
  clearTimeout(timer);
  if (!has.team.value) return;
  try {
    const page = await get("team", "v1/tasks", { page_size: LAST });
    history.value = await withResults(page.data);
    historyError.value = null;
  } catch (error) {
    historyError.value = error;
  }
  clearTimeout(timer);
  if (watchers && running.value) timer = setTimeout(refresh, REFRESH_MS);
}

/** The rows with their pictures and prompts, as far as these are known. */
async function withResults(rows) {
  if (!rows.length) return [];
  const known = new Map(history.value.map((one) => [one.id, one]));
  const asked = rows.filter((row) => !(ENDED.includes(known.get(row.id)?.status)));
  const tasks = new Map([...known].filter(([, one]) => ENDED.includes(one.status)));
  if (asked.length) {
    const [{ data }, prompts] = await Promise.all([
      send("team", "POST", "v1/tasks/batch", { task_ids: asked.map((row) => row.id) }),
      promptsOf(asked),
    ]);
    for (const task of data) {
      const body = remembered()[task.id];
      tasks.set(task.id, { ...task, body, prompt: body?.prompt ?? prompts.get(task.id) ?? known.get(task.id)?.prompt ?? "" });
    }
  }
  return rows.map((row) => tasks.get(row.id) ?? { ...row, created: row.created_at, prompt: "" });
}

/** Prompts of tasks that were not ordered in this tab, from their pictures. */
async function promptsOf(rows) {
  const own = remembered();
  if (rows.every((row) => own[row.id] || row.status !== "completed")) return new Map();
  const page = await get("team", "team/v1/pictures", { limit: 200 }).catch(() => ({ data: [] }));
  return new Map(page.data.map((one) => [one.task, one.prompt]));
}

const remembered = () => JSON.parse(sessionStorage.getItem(ORDERS) ?? "{}");

/** The orders of this tab, so that they can be shown and used again. */
function remember(id, body) {
  const last = Object.entries({ ...remembered(), [id]: body }).slice(-50);
  sessionStorage.setItem(ORDERS, JSON.stringify(Object.fromEntries(last)));
}

effect(() => {
  if (has.team.value) return;
  shown.value = null;
  history.value = [];
  sessionStorage.removeItem(ORDERS);
});
