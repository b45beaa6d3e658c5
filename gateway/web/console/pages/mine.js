// The team's own usage: what is left, what was spent, and what the cache has saved.

import { html, useEffect, useState } from "../vendor/preact.js";
import { useData } from "../api.js";
import { Plot, daysBetween } from "../plot.js";
import { summaries } from "../session.js";
import { refreshSummary } from "../team/work.js";
import { Badge, Bar, Card, Empty, ErrorBox, Loading, PageHead, Segments, Stat, Table, count, money } from "../ui.js";
import { today } from "./filters.js";
import { overDays, plus, sum } from "./usage_sums.js";

const RANGES = [["7", "7 days"], ["30", "30 days"], ["90", "90 days"]];

export default function Mine() {
  const [range, setRange] = useState("30");
  const summary = summaries.team.value;
  useEffect(() => void refreshSummary(), []);
  const to = summary && today(summary.timezone);
  const from = to && plus(to, 1 - Number(range));
  const usage = useData("team", to ? "team/v1/usage" : null, { from, to, by: "day,model" });
  if (!summary) return html`<${PageHead} title="Usage" /><${Loading} />`;
  return html`<${PageHead} title="Usage">What your team may still spend, what it has spent, and what the cache has saved it.<//>
    <div class="stats">
      <${Stat} label="Spent this month" value=${money(summary.spent_month_usd)} />
      <${Stat} label="Spent in all" value=${money(summary.spent_usd)} />
      <${Stat} label="Saved in all" value=${money(summary.saved_usd)} tone="good" note="not paid a second time" />
    </div>
    <${Limits} summary=${summary} />
    <div class="row section-head"><h2>Over time</h2>
      <${Segments} label="How many days" options=${RANGES} value=${range} onChoose=${setRange} /></div>
    <${ErrorBox} error=${usage.error} retry=${usage.reload} />
    ${usage.data ? html`<${OverTime} usage=${usage.data} />` : usage.loading && html`<${Loading} />`}`;
}

function Limits({ summary }) {
  const shown = summary.standing.filter(lasts);
  const shadow = summary.mode === "shadow" && html`<${Badge} tone="info">watched only: nothing is refused<//>`;
  return html`<${Card} title="What is left" actions=${shadow}>
    ${shown.length
      ? html`<div class="bars">${shown.map((one) => html`<${Bar} key=${one.rule} standing=${one} />`)}</div>`
      : html`<p class="muted">${summary.standing.length ? "Your team has no budget that could run out." : "Your team has no budget and no limit."}</p>`}
  <//>`;
}

/** What is free again in a moment is told while it is used. */
const lasts = ({ window, spent, held }) => !["minute", "now"].includes(window) || spent + held > 0;

function OverTime({ usage }) {
  const days = daysBetween(usage.from, usage.to);
  const { totals } = usage;
  const names = [...new Set(usage.data.map((row) => row.model))].sort();
  const spent = names.map((name) => overDays(usage.data.filter((row) => row.model === name), days, "spent_usd", name));
  const saved = [
    { colour: 2, ...overDays(usage.data, days, "saved_hit_usd", "From the cache") },
    { colour: 5, ...overDays(usage.data, days, "saved_joined_usd", "Shared") },
  ];
  const orders = totals.hits + totals.joined + totals.started;
  if (!orders) return html`<${Card}><${Empty} icon="chart-column" title="Nothing made in these days" /><//>`;
  return html`<div class="split">
      <${Card}><${Plot} title="Spent per day, by model" days=${days} series=${spent} format=${money} /><//>
      <${Card}><${Plot} title="Saved per day" days=${days} series=${saved} format=${money} /><//>
    </div>
    <${Models} usage=${usage} names=${names} />`;
}

const COUNTERS = ["started", "hits", "joined", "failed", "images_generated", "images_cache", "spent_usd", "saved_usd"];
const HEADS = { started: "New", hits: "From the cache", joined: "Shared", failed: "Failed", images_generated: "Pictures made", images_cache: "Pictures reused", spent_usd: "Spent", saved_usd: "Saved" };

function Models({ usage, names }) {
  const shown = (name, value) => (name.endsWith("_usd") ? money(value) : count(value));
  const rows = names.map((model) => {
    const own = usage.data.filter((row) => row.model === model);
    return { model, ...Object.fromEntries(COUNTERS.map((name) => [name, sum(own.map((row) => row[name]))])) };
  });
  const columns = COUNTERS.map((name) => ({ name, head: HEADS[name], align: "end", cell: (row) => shown(name, row[name]) }));
  const foot = html`<tr><th scope="row">Together</th>${COUNTERS.map((name) => html`<td key=${name} data-align="end" data-total=${name}>${shown(name, usage.totals[name])}</td>`)}</tr>`;
  return html`<${Table} caption="Requests by model" rows=${rows} rowKey=${(row) => row.model} foot=${foot}
    columns=${[{ name: "model", head: "Model", cell: (row) => row.model }, ...columns]} />
    <p class="hint">Shared: asked for while the same was being made already, and made once for both.</p>`;
}
