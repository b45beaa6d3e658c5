// Every run, every refusal, every picture: lists with filters, and one of them explained.

import { html, useState } from "../vendor/preact.js";
import { useData, useList } from "../api.js";
import { go, link } from "../router.js";
import { Button, Empty, Icon, ListEnd, PageHead, Table, Time, count, duration, money } from "../ui.js";
import { Choice, Clear, Days, Filters, ModelChoice, TeamChoice, setter } from "./filters.js";
import Pictures from "./pictures.js";
import Refusals from "./refusals.js";
import Run from "./run.js";
import { STATES, State } from "./run_state.js";
import { Tabs } from "./tabs.js";

const TABS = [["", "Runs"], ["refused", "Refused"], ["pictures", "Pictures"]];
const VIEWS = { refused: Refusals, pictures: Pictures };
const LEADS = {
  "": "Every order that was sent upstream, and how it went.",
  refused: "Orders that got no picture in their answer, and why. What was turned away cost nothing; what failed upstream has a run that says what it cost.",
  pictures: "Every picture that is kept.",
};

export default function Runs({ rest, query }) {
  if (rest[0]) return html`<${Run} key=${rest[0]} id=${rest[0]} />`;
  const View = VIEWS[query.view] ?? RunList;
  return html`<${PageHead} title="Runs" actions=${html`<${LookUp} />`}>${LEADS[query.view] ?? LEADS[""]}<//>
    <${Tabs} page="runs" label="What to list" tabs=${TABS} view=${query.view} keep=${{ team: query.team }} />
    <${View} query=${query} />`;
}

/** Opens one by its id: a run's, a task's, or that of a refused request. */
function LookUp() {
  const [id, setId] = useState("");
  const open = (event) => {
    event.preventDefault();
    if (id.trim()) go("runs", [id.trim()]);
  };
  return html`<form class="look-up" role="search" onSubmit=${open}>
    <input class="mono" aria-label="Run, task or request id" placeholder="Run, task or request id" autocomplete="off" spellcheck="false" value=${id} onInput=${(e) => setId(e.target.value)} />
    <${Button} type="submit" icon="search">Explain<//></form>`;
}

function RunList({ query }) {
  const set = setter("runs", [], query);
  const { team, model, state, verdict, route, from, to } = query;
  const list = useList("admin", "admin/v1/runs", { team, model, state, verdict, route, from, to, limit: 50 });
  const health = useData("admin", "admin/v1/health");
  const routes = [...new Set((health.data?.routes ?? []).map((one) => one.route))];
  return html`<${Filters}>
      <${TeamChoice} value=${team} onChoose=${(one) => set({ team: one })} />
      <${ModelChoice} value=${model} onChoose=${(one) => set({ model: one })} />
      <${Choice} label="State" options=${Object.entries(STATES).map(([name, [, word]]) => [name, word])} value=${state} onChoose=${(one) => set({ state: one })} />
      <${Choice} label="Asked for by" all="Any order" options=${[["started", "New orders"], ["joined", "Joined orders"], ["hit", "From the cache"]]} value=${verdict} onChoose=${(one) => set({ verdict: one })} />
      <${Choice} label="Route" all="All routes" options=${routes} value=${route} onChoose=${(one) => set({ route: one })} />
      <${Days} from=${from} to=${to} set=${set} />
      <${Clear} page="runs" query=${query} keep=${["view"]} />
    <//>
    ${list.rows.length > 0 && html`<div class="cards"><${Table} caption="Runs" rows=${list.rows} rowKey=${(run) => run.id} busy=${list.loading}
      onOpen=${(run) => go("runs", [run.id])} columns=${COLUMNS} /></div>`}
    <${ListEnd} list=${list} empty=${html`<${Empty} icon="list" title="No run is like that." />`} />`;
}

const COLUMNS = [
  { name: "order", head: "Order", wide: true, cell: (run) => html`<div class="told"><a class="told-head" href=${link("runs", [run.id])}>${run.prompt || "Without a prompt"}</a>
    <p class="hint">${[run.model, run.quality, run.n > 1 && `${run.n} pictures`, `via ${run.route}`, run.attempts > 1 && `${run.attempts} attempts`].filter(Boolean).join(" · ")}
      ${run.joins > 0 && html`<span class="still"> · <${Icon} name="git-merge" /> joined ${run.joins === 1 ? "once" : `${count(run.joins)} times`}</span>`}</p></div>` },
  { name: "team", head: "Team", cell: (run) => run.team },
  { name: "state", head: "State", cell: (run) => html`<div><${State} state=${run.state} />${run.failure && html`<p class="hint">${run.failure}</p>`}</div>` },
  { name: "at", head: "Created", cell: (run) => html`<span class="still"><${Time} at=${run.created_at} /></span>` },
  { name: "took", head: "Took", align: "end", cell: (run) => duration(run.seconds) },
  { name: "usd", head: "Spent", align: "end", cell: (run) => html`<div>${money(run.spent_usd)}${run.held_usd > 0 && html`<p class="hint">${money(run.held_usd)} reserved</p>`}</div>` },
];
