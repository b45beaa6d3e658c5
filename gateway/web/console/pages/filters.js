// Filters above a list: they live in the address, so that a view can be kept and sent on.

import { html, signal, useEffect, useState } from "../vendor/preact.js";
import { get } from "../api.js";
import { go } from "../router.js";
import { summaries } from "../session.js";
import { Button, Field, Icon, Select, useSettled } from "../ui.js";

/** The names of all teams, once something has asked for them. */
export const teamNames = signal(null);

/** The teams to choose from; `null` until they are known. */
function useTeamNames() {
  useEffect(() => {
    if (teamNames.value) return;
    get("admin", "admin/v1/teams").then(({ data }) => (teamNames.value = data.map((team) => team.name)), () => {});
  }, []);
  return teamNames.value;
}

/** The public names of the models. */
export const modelNames = () => summaries.admin.value?.models ?? [];

/** Today in the operator's zone, as "2026-01-31". */
export function today(zone = summaries.admin.value?.timezone ?? "UTC") {
  return new Intl.DateTimeFormat("en-CA", { timeZone: zone, year: "numeric", month: "2-digit", day: "2-digit" }).format();
}

/** Sets filters of a page: `set({team: "blue"})`; an empty value takes one away. */
export const setter = (page, rest, query) => (change) => go(page, rest, { ...query, ...change }, { replace: true });

/** One of a list, or all. A value that is not in the list is offered as well. */
export function Choice({ label, all = "All", options, value = "", onChoose }) {
  const known = options.some((one) => (Array.isArray(one) ? one[0] : one) === value);
  const shown = [["", all], ...options, ...(value && !known ? [[value, value]] : [])];
  return html`<${Field} label=${label}>${(a) => html`
    <${Select} ...${a} options=${shown} value=${value} onChange=${(e) => onChoose(e.target.value)} />`}<//>`;
}

export function TeamChoice({ value, onChoose }) {
  return html`<${Choice} label="Team" all="All teams" options=${useTeamNames() ?? []} value=${value} onChoose=${onChoose} />`;
}

export function ModelChoice({ value, onChoose }) {
  return html`<${Choice} label="Model" all="All models" options=${modelNames()} value=${value} onChoose=${onChoose} />`;
}

/** The first and the last day, both included. */
export function Days({ from = "", to = "", set }) {
  const day = (label, name, value, bound) => html`<${Field} label=${label}>${(a) => html`
    <input ...${a} type="date" value=${value} ...${bound} onChange=${(e) => set({ [name]: e.target.value })} />`}<//>`;
  return html`<div class="days">${day("From", "from", from, { max: to || undefined })}${day("To", "to", to, { min: from || undefined })}</div>`;
}

/** A text that is searched for once the reader has stopped typing. */
export function TextFilter({ label, value = "", onChoose, wide = false, ...rest }) {
  const [text, setText] = useState(value);
  const settled = useSettled(text.trim());
  useEffect(() => setText(value), [value]);
  useEffect(() => {
    if (settled !== value && settled === text.trim()) onChoose(settled);
  }, [settled]);
  return html`<${Field} label=${label} wide=${wide}>${(a) => html`
    <input ...${a} type="search" autocomplete="off" spellcheck="false" ...${rest} value=${text} onInput=${(e) => setText(e.target.value)} />`}<//>`;
}

/** The filters of a list. On a phone they are folded away until they are wanted. */
export function Filters({ children }) {
  const [open, setOpen] = useState(() => matchMedia("(min-width: 861px)").matches);
  return html`<details class="filters" open=${open} onToggle=${(e) => setOpen(e.currentTarget.open)}><summary><${Icon} name="search" />Filters</summary>
    <div class="toolbar">${children}</div></details>`;
}

/** Takes all filters away; nothing is shown while there are none. */
export function Clear({ page, rest = [], query, keep = [] }) {
  const kept = Object.fromEntries(Object.entries(query).filter(([name]) => keep.includes(name)));
  if (Object.keys(query).length === Object.keys(kept).length) return null;
  return html`<${Button} kind="quiet" icon="x" onClick=${() => go(page, rest, kept, { replace: true })}>Clear filters<//>`;
}
