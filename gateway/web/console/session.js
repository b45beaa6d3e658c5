// Who sits in front of this tab: its keys, and what the gateway says of them.
//
// Keys live in sessionStorage and in request headers, never in a URL, a log or the page's text.

import { computed, signal } from "./vendor/preact.js";
import { tab } from "./storage.js";

/** The two roles a key can have, and the words for them. */
export const ROLES = {
  team: { key: "gateway.team-key", name: "team key", summary: "team/v1/summary" },
  admin: { key: "gateway.admin-key", name: "admin key", summary: "admin/v1/summary" },
};

const held = {
  team: signal(tab.get(ROLES.team.key)),
  admin: signal(tab.get(ROLES.admin.key)),
};

/** What `GET …/summary` last said for each role, or null. */
export const summaries = { team: signal(null), admin: signal(null) };

/** The operator's time zone: that of the budgets, and of all times that are shown. */
export const zone = computed(() => (summaries.team.value ?? summaries.admin.value)?.timezone ?? "UTC");

/** Why a key was dropped, for the screen that asks for a new one. */
export const notice = signal("");

/** Whether a key is held: `has.team.value`, `has.admin.value`. */
export const has = {
  team: computed(() => held.team.value !== null),
  admin: computed(() => held.admin.value !== null),
};

export function keyOf(role) {
  return held[role].value;
}

export function keep(role, key, summary) {
  tab.set(ROLES[role].key, key);
  held[role].value = key;
  summaries[role].value = summary;
  notice.value = "";
}

export function forget(role, why = "") {
  tab.drop(ROLES[role].key);
  notice.value = why;
  summaries[role].value = null;
  held[role].value = null;
}
