// Where the money goes: by day, team and model, on the screen and as CSV.

import { html, useMemo, useState } from "../vendor/preact.js";
import { download, useData } from "../api.js";
import { link } from "../router.js";
import { Plot, daysBetween } from "../plot.js";
import { Button, Card, Empty, ErrorBox, Loading, PageHead, Segments, Stat, Table, count, money, percent, toast } from "../ui.js";
import { Days, ModelChoice, TeamChoice, setter, today } from "./filters.js";
import { MEASURES, RANGES, overDays, rangeOf, stacked } from "./usage_sums.js";

const ROWS = 25;

export default function Usage({ query }) {
  const set = setter("usage", [], query);
  const asked = { ...daysOf(query), team: query.team, model: query.model };
  const key = query.by === "model" ? "model" : "team";
  const days = useData("admin", "admin/v1/usage", { ...asked, by: `day,${key}` });
  const sums = useData("admin", "admin/v1/usage", { ...asked, by: "team,model" });
  const error = days.error ?? sums.error;
  const retry = () => (days.reload(), sums.reload());
  return html`<${PageHead} title="Spend" actions=${html`<${Csv} asked=${asked} report=${sums.data} />`}>
      What pictures have cost, and what the cache has saved.
    <//>
    <${Filters} query=${query} set=${set} asked=${asked} report=${sums.data} />
    <${ErrorBox} error=${error} retry=${retry} />
    ${!sums.data && !error && html`<${Loading} />`}
    ${sums.data && html`<${Totals} totals=${sums.data.totals} />`}
    ${days.data && html`<${Plots} report=${days.data} by=${key} query=${query} set=${set} />`}
    ${sums.data && html`<${Rows} report=${sums.data} busy=${sums.loading} />`}`;
}

/** The days asked for; nothing set is the gateway's own "this month". */
function daysOf({ range, from, to }) {
  if (from || to) return { from, to };
  return range && range !== "month" ? (rangeOf(range, today()) ?? {}) : {};
}

function Filters({ query, set, asked, report }) {
  const own = query.from || query.to;
  const ranges = own ? [...RANGES, ["own", "Own dates"]] : RANGES;
  const choose = (range) => set({ range: range === "month" ? "" : range, from: "", to: "" });
  const { from, to } = asked.from || asked.to ? asked : { from: report?.from, to: report?.to };
  const one = (change) => set({ from, to, ...change, range: "" });
  return html`<${Segments} label="Days" options=${ranges} value=${own ? "own" : query.range || "month"} onChoose=${choose} />
    <div class="toolbar">
      <${Days} from=${from} to=${to} set=${one} />
      <${TeamChoice} value=${query.team} onChoose=${(team) => set({ team })} />
      <${ModelChoice} value=${query.model} onChoose=${(model) => set({ model })} />
    </div>`;
}

/** The same report as a file, by day, team and model. */
function Csv({ asked, report }) {
  const [busy, setBusy] = useState(false);
  const save = async () => {
    setBusy(true);
    const name = `usage-${report.from}-${report.to}.csv`;
    const { from, to } = report;
    await download("admin", "admin/v1/usage", { ...asked, from, to, by: "day,team,model", format: "csv" }, name)
      .catch((error) => toast(error.message, "bad"));
    setBusy(false);
  };
  return html`<${Button} icon="download" busy=${busy} disabled=${!report} onClick=${save}>Download CSV<//>`;
}

/** What became of new orders: "44 new · 6 of them failed, nothing charged · 1 under way". */
function newOrders({ started, done, failed, failed_usd: lost }) {
  const live = started - done - failed;
  return [
    `${count(started)} new`,
    failed > 0 && `${count(failed)} of them failed, ${lost > 0 ? `${money(lost)} charged` : "nothing charged"}`,
    live > 0 && `${count(live)} under way`,
  ].filter(Boolean).join(" · ");
}

function Totals({ totals }) {
  const { hits, joined, started, images_generated: made, images_cache: reused } = totals;
  return html`<div class="stats">
    <${Stat} label="Spent" value=${money(totals.spent_usd)} note=${`${count(made)} pictures made`} />
    <${Stat} label="Saved" value=${money(totals.saved_usd)} tone=${totals.saved_usd ? "good" : undefined}
      note=${`${money(totals.saved_hit_usd)} by the cache, ${money(totals.saved_joined_usd)} by joining`} />
    <${Stat} label="Orders" value=${count(hits + joined + started)}
      note=${[newOrders(totals), hits > 0 && `${count(hits)} from the cache`, joined > 0 && `${count(joined)} joined`].filter(Boolean).join(" · ")} />
    <${Stat} label="Pictures reused" value=${percent(reused, made + reused)} note=${`${count(reused)} of ${count(made + reused)}: not paid a second time`} />
  </div>`;
}

function Plots({ report, by, query, set }) {
  const measure = MEASURES.some(([name]) => name === query.measure) ? query.measure : "spent_usd";
  const title = MEASURES.find(([name]) => name === measure)[1];
  const days = useMemo(() => daysBetween(report.from, report.to), [report]);
  const series = useMemo(() => stacked(report.data, days, by, measure), [report, by, measure]);
  const saved = useMemo(() => [
    overDays(report.data, days, "saved_hit_usd", "By the cache"), overDays(report.data, days, "saved_joined_usd", "By joining a running order"),
  ], [report]);
  const format = measure.endsWith("_usd") ? money : count;
  return html`<${Card} title="By day" actions=${html`<div class="row">
        <${Segments} label="What to plot" options=${MEASURES} value=${measure} onChoose=${(one) => set({ measure: one === "spent_usd" ? "" : one })} />
        <${Segments} label="Stacked by" options=${[["team", "By team"], ["model", "By model"]]} value=${by} onChoose=${(one) => set({ by: one === "team" ? "" : one })} /></div>`}>
      ${series.length
        ? html`<div data-plotted=${JSON.stringify({ measure, by, days, series })}><${Plot} title=${`${title} by ${by}`} days=${days} series=${series} format=${format} /></div>`
        : html`<${Empty} icon="chart-column-stacked" title="Nothing in these days." />`}
    <//>
    ${measure !== "saved_usd" && report.totals.saved_usd > 0 && html`<${Card} title="Savings">
      <div data-plotted=${JSON.stringify({ measure: "saved_usd", by: "how", days, series: saved })}>
        <${Plot} title="Saved by day" days=${days} series=${saved} format=${money} height=${160} /></div><//>`}`;
}

const COUNTERS = [
  ["spent_usd", "Spent", money, "Money"], ["saved_usd", "Saved", money, "Money"], ["bypassed_usd", "Bypassed", money, "Money"],
  ["started", "New", count, "Orders"], ["hits", "From cache", count, "Orders"], ["joined", "Joined", count, "Orders"], ["failed", "Failed", count, "Orders"],
  ["images_generated", "Made", count, "Pictures"], ["images_cache", "Reused", count, "Pictures"],
];

function Rows({ report, busy }) {
  const [all, setAll] = useState(false);
  const rows = useMemo(() => report.data.toSorted((a, b) => b.spent_usd - a.spent_usd), [report]);
  const counters = COUNTERS.filter(([name]) => name !== "bypassed_usd" || report.totals.bypassed > 0);
  const columns = [
    { name: "team", head: "Team", cell: (row) => html`<div class="name-cell"><a href=${link("teams", [row.team])} title=${row.team}>${row.team}</a></div>` },
    { name: "model", head: "Model", cell: (row) => html`<span class="still">${row.model}</span>` },
    ...counters.map(([name, head, format, group]) => ({ name, head, group, align: "end", cell: (row) => format(row[name]) })),
  ];
  const foot = html`<tr><th scope="row">Total</th><td></td>
    ${counters.map(([name, , format]) => html`<td key=${name} data-align="end" data-total=${name} data-value=${report.totals[name]}>${format(report.totals[name])}</td>`)}</tr>`;
  if (!rows.length) return null;
  return html`<div><h2>By team and model</h2>
    <p class="hint">Failed ones are among the new orders, and got no pictures.${report.totals.bypassed > 0 && " Bypassed is what was spent because a client passed the cache by."}</p></div>
    <${Table} caption="By team and model" rows=${all ? rows : rows.slice(0, ROWS)} rowKey=${(row) => `${row.team}|${row.model}`} busy=${busy} columns=${columns} foot=${foot} />
    ${rows.length > ROWS && !all && html`<div class="list-end"><${Button} icon="chevron-down" onClick=${() => setAll(true)}>Show all ${rows.length} rows<//></div>`}`;
}
