// Orders that were refused, or would have been in shadow mode.

import { html } from "../vendor/preact.js";
import { useList } from "../api.js";
import { go, link } from "../router.js";
import { Badge, Empty, ListEnd, Table, Time, money } from "../ui.js";
import { Choice, Clear, Days, Filters, TeamChoice, TextFilter, setter } from "./filters.js";

/** How a refusal is marked: a limit, or a fault in the request; and whether it went on all the same. */
export function Verdict({ refusal }) {
  const [tone, word] = { denied: ["bad", "Denied"], invalid: ["warn", "Invalid"], failed: ["bad", "Failed upstream"] }[refusal.verdict];
  return html`<${Badge} tone=${tone}>${word}<//>
    ${refusal.mode === "shadow" && html` <${Badge} tone="info" icon="eye">Shadow: went on<//>`}`;
}

/** What was ordered, in a few words: model, size, quality, how many, for how much. What was not said is not told. */
export function ordered({ model, asked }) {
  const { size, quality, n, price_usd: price } = asked;
  const said = (name, value) => value !== undefined && `${name} ${typeof value === "string" ? value : JSON.stringify(value)}`;
  const many = Number.isInteger(n) ? `${n} ${n === 1 ? "picture" : "pictures"}` : n !== undefined && `n ${JSON.stringify(n)}`;
  return [model || asked.model, said("size", size), said("quality", quality), many, price !== undefined && `at most ${money(price)}`].filter(Boolean);
}

/** The key that an order came with: its label, or its id. */
const keyName = ({ key, key_label: label }) => label || key;

export default function Refusals({ query }) {
  const set = setter("runs", [], query);
  const { team, verdict, reason, from, to } = query;
  const list = useList("admin", "admin/v1/refusals", { team, verdict, reason, from, to, limit: 50 });
  return html`<${Filters}>
      <${TeamChoice} value=${team} onChoose=${(one) => set({ team: one })} />
      <${Choice} label="Verdict" options=${[["denied", "Denied by a limit"], ["invalid", "Invalid request"], ["failed", "Failed upstream"]]} value=${verdict} onChoose=${(one) => set({ verdict: one })} />
      <${TextFilter} label="Reason" value=${reason} onChoose=${(one) => set({ reason: one })} />
      <${Days} from=${from} to=${to} set=${set} />
      <${Clear} page="runs" query=${query} keep=${["view"]} />
    <//>
    ${list.rows.length > 0 && html`<div class="cards"><${Table} caption="Refused orders" rows=${list.rows} rowKey=${(one) => one.id} busy=${list.loading}
      onOpen=${(one) => go("runs", [one.id])} columns=${COLUMNS} /></div>`}
    <${ListEnd} list=${list} empty=${html`<${Empty} icon="ban" title="Nothing was refused." />`} />`;
}

const COLUMNS = [
  { name: "why", head: "Why", wide: true, cell: (one) => html`<div class="told"><a class="told-head" href=${link("runs", [one.id])}>${one.message || one.reason}</a>
    <p class="hint">${[one.reason, one.rule, one.param && `field ${one.param}`].filter(Boolean).join(" · ")}</p>
    ${one.asked.prompt && html`<p class="prompt">${one.asked.prompt}</p>`}</div>` },
  { name: "verdict", head: "Verdict", cell: (one) => html`<${Verdict} refusal=${one} />` },
  { name: "team", head: "Team", cell: (one) => one.team || html`<span class="muted">–</span>` },
  { name: "asked", head: "Ordered", cell: (one) => html`<div class="ordered">${ordered(one).join(" · ") || "–"}${keyName(one.asked) && html`<p class="hint">key ${keyName(one.asked)}</p>`}</div>` },
  { name: "at", head: "When", cell: (one) => html`<span class="still"><${Time} at=${one.at} /></span>` },
];
