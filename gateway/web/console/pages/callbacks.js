// Calls to clients and alerts to operators, as the outbox has them; one can be sent again.

import { html, useState } from "../vendor/preact.js";
import { send, useList } from "../api.js";
import { link } from "../router.js";
import { Badge, Button, Empty, ListEnd, Table, Time, count, toast } from "../ui.js";
import { Choice, Clear, Filters, TeamChoice, TextFilter, setter } from "./filters.js";

const STATES = { pending: ["info", "Pending"], delivered: ["good", "Delivered"], failed: ["bad", "Failed"] };

export default function Callbacks({ query }) {
  const set = setter("health", [], query);
  const { team, task, state } = query;
  const list = useList("admin", "admin/v1/callbacks", { team, task, state, limit: 50 });
  const [busy, setBusy] = useState("");
  const redeliver = async (id) => {
    setBusy(id);
    try {
      await send("admin", "POST", `admin/v1/callbacks/${encodeURIComponent(id)}/redeliver`);
      toast("It is sent again");
      list.reload();
    } catch (error) {
      toast(error.message, "bad");
    }
    setBusy("");
  };
  return html`<${Filters}>
      <${TeamChoice} value=${team} onChoose=${(one) => set({ team: one })} />
      <${Choice} label="State" options=${Object.entries(STATES).map(([name, [, word]]) => [name, word])} value=${state} onChoose=${(one) => set({ state: one })} />
      <${TextFilter} label="Task" placeholder="Task id" value=${task} onChoose=${(one) => set({ task: one })} />
      <${Clear} page="health" query=${query} keep=${["view"]} />
    <//>
    ${list.rows.length > 0 && html`<div class="cards"><${Table} caption="Callbacks" rows=${list.rows} rowKey=${(one) => one.id} busy=${list.loading} columns=${columns(busy, redeliver)} /></div>`}
    <${ListEnd} list=${list} empty=${html`<${Empty} icon="send" title="No callback is like that." />`} />`;
}

function columns(busy, redeliver) {
  return [
    { name: "host", head: "To", wide: true, cell: (one) => html`<div>${one.host}<p class="hint">${one.kind === "alert" ? "Alert" : html`Task <a class="mono" href=${link("runs", [one.task])}>${one.task}</a>`}</p></div>` },
    { name: "team", head: "Team", cell: (one) => one.team },
    { name: "state", head: "State", cell: (one) => {
      const [tone, word] = STATES[one.state] ?? ["none", one.state];
      return html`<div><${Badge} tone=${tone}>${word}<//>${one.error && html`<p class="hint">${one.error}</p>`}</div>`;
    } },
    { name: "status", head: "Answer", align: "end", cell: (one) => one.status ?? "–" },
    { name: "attempts", head: "Tries", align: "end", cell: (one) => count(one.attempts) },
    { name: "at", head: "Created", cell: (one) => html`<span class="still"><${Time} at=${one.created_at} /></span>` },
    { name: "acts", head: "", align: "end", cell: (one) => one.ended_at && html`<${Button} kind="quiet" icon="send" busy=${busy === one.id}
      aria-label=${`Send again to ${one.host}`} onClick=${() => redeliver(one.id)}>Send again<//>` },
  ];
}
