// The teams: who may spend how much, and how near each is to its limits.

import { html, useEffect, useMemo, useState } from "../vendor/preact.js";
import { useData } from "../api.js";
import { link } from "../router.js";
import { Bar, Button, ButtonLink, Empty, ErrorBox, Loading, PageHead, Stat, Table, count, money } from "../ui.js";
import { Choice, TextFilter, setter, teamNames } from "./filters.js";
import Team, { TeamBadges } from "./team.js";
import { NewTeam } from "./team_form.js";

const ROWS = 50;
const ORDERS = {
  name: ["Name", (a, b) => a.name.localeCompare(b.name)],
  spent: ["Spent this month", (a, b) => b.spent_month_usd - a.spent_month_usd],
  left: ["Nearest to a limit", (a, b) => fullness(b) - fullness(a)],
};

export default function Teams({ rest, query }) {
  if (rest[0] === undefined) return html`<${TeamList} query=${query} />`;
  if (rest[0] === "+new") return html`<${NewTeam} />`;
  return html`<${Team} key=${rest[0]} name=${rest[0]} editing=${rest[1] === "edit"} />`;
}

function TeamList({ query }) {
  const { data, error, loading, reload } = useData("admin", "admin/v1/teams");
  const [shown, setShown] = useState(ROWS);
  const set = setter("teams", [], query);
  const teams = data?.data ?? [];
  useEffect(() => {
    if (data) teamNames.value = data.data.map((team) => team.name);
  }, [data]);
  useEffect(() => setShown(ROWS), [query.q, query.order, query.mode]);
  const found = useMemo(() => chosen(teams, query), [data, query.q, query.order, query.mode]);
  return html`<${PageHead} title="Teams" actions=${html`<${ButtonLink} kind="primary" icon="plus" href=${link("teams", ["+new"])}>New team<//>`}>
      Who may order pictures, for how much, and with which keys.
    <//>
    ${data && html`<${Sums} teams=${teams} />`}
    <div class="toolbar">
      <${TextFilter} wide label="Search" placeholder="Name or description" value=${query.q} onChoose=${(q) => set({ q })} />
      <${Choice} label="Mode" options=${[["enforce", "Enforced"], ["shadow", "Shadow"]]} value=${query.mode} onChoose=${(mode) => set({ mode })} />
      <${Choice} label="Sort by" all="Name" options=${[["spent", ORDERS.spent[0]], ["left", ORDERS.left[0]]]} value=${query.order} onChoose=${(order) => set({ order })} />
    </div>
    <p class="unseen" role="status">${data ? `${found.length} teams` : ""}</p>
    <${ErrorBox} error=${error} retry=${reload} />
    ${loading && !data && html`<${Loading} />`}
    ${found.length > 0 && html`<div class="cards"><${Table} caption="Teams" rows=${found.slice(0, shown)} rowKey=${(team) => team.name} busy=${loading} columns=${COLUMNS} /></div>`}
    ${found.length > shown && html`<div class="list-end"><${Button} icon="chevron-down" onClick=${() => setShown(shown + ROWS)}>
      Show more (${found.length - shown})<//></div>`}
    ${data && !teams.length && html`<${Empty} icon="users" title="There is no team yet.">
      <p class="muted">Nobody can order before there is a team with a key.</p>
      <${ButtonLink} kind="primary" icon="plus" href=${link("teams", ["+new"])}>New team<//><//>`}
    ${teams.length > 0 && !found.length && html`<${Empty} icon="search" title="No team is like that." />`}`;
}

const COLUMNS = [
  { name: "team", head: "Team", wide: true, cell: (team) => html`<${TeamCell} team=${team} />` },
  { name: "budgets", head: "Budgets", wide: true, cell: (team) => html`<${Budgets} team=${team} />` },
  { name: "month", head: "This month", align: "end", cell: (team) => html`<span class="num">${money(team.spent_month_usd)}</span>` },
  { name: "keys", head: "Keys", align: "end", cell: (team) => html`<span class="num">${count(team.keys)}</span>` },
];

function TeamCell({ team }) {
  return html`<div class="team-cell"><a class="team-name" href=${link("teams", [team.name])} title=${team.name}>${team.name}</a>
    <${TeamBadges} team=${team} />
    ${team.description && html`<p class="hint">${team.description}</p>`}</div>`;
}

/** The money budgets in the list; where there is none, the other limits. */
function Budgets({ team }) {
  const money = team.standing.filter((one) => one.measure === "usd");
  const shown = money.length ? money : team.standing;
  if (!shown.length) return html`<span class="muted">No limit</span>`;
  return html`<div class="limits">${shown.map((one) => html`<${Bar} key=${one.rule} standing=${one} />`)}</div>`;
}

function Sums({ teams }) {
  const sum = (amount) => teams.reduce((all, team) => all + amount(team), 0);
  const full = teams.filter((team) => fullness(team) >= 0.8).length;
  const shadow = teams.filter((team) => team.settings.mode === "shadow").length;
  return html`<div class="stats">
    <${Stat} label="Teams" value=${count(teams.length)} note=${shadow ? `${shadow} in shadow mode` : ""} />
    <${Stat} label="Spent this month" value=${money(sum((team) => team.spent_month_usd))} />
    <${Stat} label="Near a limit" value=${count(full)} tone=${full ? "warn" : undefined} note="80 % used or more" />
    <${Stat} label="Live keys" value=${count(sum((team) => team.keys))} />
  </div>`;
}

function chosen(teams, { q = "", order = "name", mode }) {
  const words = folded(q).split(/\s+/);
  const told = (team) => folded(`${team.name} ${team.description ?? ""}`);
  const found = teams.filter((team) => words.every((word) => told(team).includes(word)) && (!mode || team.settings.mode === mode));
  return found.sort((ORDERS[order] ?? ORDERS.name)[1]);
}

/** Without case and accents: every word must occur, in any order. */
const folded = (text) => text.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").toLowerCase();

/** The share of its fullest limit that a team has used, held money included. */
function fullness(team) {
  const lasting = team.standing.filter((one) => one.measure === "usd" || one.measure === "images");
  return Math.max(0, ...lasting.map((one) => (one.limit > 0 ? (one.spent + one.held) / one.limit : 1)));
}
