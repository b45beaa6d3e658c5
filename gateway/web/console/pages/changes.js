// The audit trail: every act of an operator, with how it was before and after.

import { html } from "../vendor/preact.js";
import { useList } from "../api.js";
import { Badge, Empty, ListEnd, Table, Time, count, worded } from "../ui.js";
import { differences } from "./differences.js";
import { Choice, Clear, Filters, TextFilter, setter } from "./filters.js";

const ACTIONS = ["team.create", "team.change", "team.delete", "key.issue", "key.rotate", "key.revoke", "picture.erase", "run.erase", "cache.purge", "callback.redeliver", "run.retry", "run.free", "run.confirm", "alert.test", "settings.reload"];
const worse = (action) => /delete|revoke|erase|purge/.test(action);

export default function Changes({ query }) {
  const set = setter("health", [], query);
  const { subject, action, actor } = query;
  const list = useList("admin", "admin/v1/audit", { subject, action, actor, limit: 50 });
  return html`<${Filters}>
      <${Choice} label="Act" options=${ACTIONS.map((one) => [one, worded(one)])} value=${action} onChoose=${(one) => set({ action: one })} />
      <${TextFilter} label="On" placeholder="Team, key, picture" value=${subject} onChoose=${(one) => set({ subject: one })} />
      <${TextFilter} label="By" placeholder="Name, or key's digest" value=${actor} onChoose=${(one) => set({ actor: one })} />
      <${Clear} page="health" query=${query} keep=${["view"]} />
    <//>
    ${list.rows.length > 0 && html`<div class="cards"><${Table} caption="Changes" rows=${list.rows} rowKey=${(one) => one.id} busy=${list.loading} columns=${COLUMNS} /></div>`}
    <${ListEnd} list=${list} empty=${html`<${Empty} icon="history" title="No change is like that." />`} />`;
}

const COLUMNS = [
  { name: "at", head: "When", cell: (one) => html`<span class="still"><${Time} at=${one.at} /></span>` },
  { name: "action", head: "Act", cell: (one) => html`<${Badge} tone=${worse(one.action) ? "bad" : "info"}>${worded(one.action)}<//>` },
  { name: "subject", head: "On", cell: (one) => html`<span class="mono subject" title=${one.subject}>${one.subject}</span>` },
  { name: "actor", head: "By", cell: (one) => html`<${Actor} name=${one.actor} />` },
  { name: "what", head: "What changed", wide: true, cell: (one) => html`<${Difference} before=${one.before} after=${one.after} />` },
];

const SHOWN = 3;

/** What differs, a line each; of very much the beginning, and the rest when it is asked for. */
function Difference({ before, after }) {
  const rows = differences(before, after);
  if (!rows.length) return html`<span class="muted">–</span>`;
  const rest = rows.slice(SHOWN);
  return html`<div class="difference"><${Lines} rows=${rows.slice(0, SHOWN)} />
    ${rest.length > 0 && html`<details><summary>${count(rest.length)} more</summary><${Lines} rows=${rest} /></details>`}</div>`;
}

function Lines({ rows }) {
  return html`<ul>${rows.map(({ name, before, after }) => html`<li key=${name}>${name} ${before !== null && html`<del><span class="unseen">before: </span>${before}</del> `}
    ${before !== null && html`<span aria-hidden="true">→ </span>`}<ins><span class="unseen">after: </span>${after ?? "none"}</ins></li>`)}</ul>`;
}

/** The name of who acted; without one, the start of the admin key's digest. */
function Actor({ name }) {
  return /^[0-9a-f]{12}$/.test(name)
    ? html`<span class="mono" title="An admin key without a name: the start of its SHA-256. server.admin_keys can name it.">${name}</span>`
    : html`<span class="still">${name}</span>`;
}
