// The audit trail: every act of an operator, with how it was before and after.

import { html } from "../vendor/preact.js";
import { useList } from "../api.js";
import { Badge, Empty, ListEnd, Table, Time, worded } from "../ui.js";
import { Choice, Clear, Filters, TextFilter, setter } from "./filters.js";

const ACTIONS = ["team.create", "team.change", "team.delete", "key.issue", "key.rotate", "key.revoke", "picture.erase", "cache.purge", "callback.redeliver", "alert.test", "settings.reload"];
const worse = (action) => /delete|revoke|erase|purge/.test(action);

export default function Changes({ query }) {
  const set = setter("health", [], query);
  const { subject, action, actor } = query;
  const list = useList("admin", "admin/v1/audit", { subject, action, actor, limit: 50 });
  return html`<${Filters}>
      <${Choice} label="Act" options=${ACTIONS.map((one) => [one, worded(one)])} value=${action} onChoose=${(one) => set({ action: one })} />
      <${TextFilter} label="On" placeholder="Team, key, picture" value=${subject} onChoose=${(one) => set({ subject: one })} />
      <${TextFilter} label="By" placeholder="Admin key's digest" value=${actor} onChoose=${(one) => set({ actor: one })} />
      <${Clear} page="health" query=${query} keep=${["view"]} />
    <//>
    ${list.rows.length > 0 && html`<div class="cards"><${Table} caption="Changes" rows=${list.rows} rowKey=${(one) => one.id} busy=${list.loading} columns=${COLUMNS} /></div>`}
    <${ListEnd} list=${list} empty=${html`<${Empty} icon="history" title="No change is like that." />`} />`;
}

const COLUMNS = [
  { name: "at", head: "When", cell: (one) => html`<span class="still"><${Time} at=${one.at} /></span>` },
  { name: "action", head: "Act", cell: (one) => html`<${Badge} tone=${worse(one.action) ? "bad" : "info"}>${worded(one.action)}<//>` },
  { name: "subject", head: "On", cell: (one) => html`<span class="mono">${one.subject}</span>` },
  { name: "actor", head: "By admin key", cell: (one) => html`<span class="mono">${one.actor}</span>` },
  { name: "what", head: "Before and after", wide: true, cell: (one) => html`<${Difference} before=${one.before} after=${one.after} />` },
];

/** The parts that differ, each on a line; all of them are in the details. */
function Difference({ before, after }) {
  if (!before && !after) return html`<span class="muted">–</span>`;
  const names = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])];
  const changed = names.filter((name) => JSON.stringify(before?.[name]) !== JSON.stringify(after?.[name]));
  return html`<details class="difference"><summary>${changed.join(", ") || "nothing"}</summary>
    <dl class="facts">${changed.map((name) => html`<dt key=${name}>${name}</dt><dd key=${`${name}=`}>
      ${before && html`<del class="mono"><span class="unseen">before: </span>${text(before[name])}</del> `}
      ${after && html`<ins class="mono"><span class="unseen">after: </span>${text(after[name])}</ins>`}</dd>`)}</dl></details>`;
}

const text = (value) => (value === undefined ? "–" : JSON.stringify(value));
