// Amounts over days, drawn by uPlot, with the same numbers as a table for those who cannot see it.

import { html, useEffect, useRef, useState } from "./vendor/preact.js";
import uPlot from "./vendor/uplot.js";
import { shownTheme } from "./theme.js";
import { count } from "./ui.js";

const COLOURS = 8;
const DAY_SECONDS = 86_400;

/** Every day from one to the other, both included, as "2026-01-31". */
export function daysBetween(from, to) {
  const days = [];
  for (let at = Date.parse(from); at <= Date.parse(to); at += DAY_SECONDS * 1000) days.push(dayOf(at));
  return days;
}

/**
 * `days`: ["2026-01-31", …], without gaps. `series`: [{label, values, colour?: 1…8}], a value for each day.
 * `kind`: bars (stacked upon each other, default) or lines. `format` writes a value, for axis, legend and table.
 */
export function Plot({ title, days, series, kind = "bars", format = count, height = 240 }) {
  const stage = useRef(null);
  const [at, setAt] = useState(null);
  const theme = shownTheme();
  const coloured = series.map((one, i) => ({ ...one, colour: one.colour ?? (i % COLOURS) + 1 }));
  const data = JSON.stringify([days, coloured, kind, theme, height]);
  useEffect(() => draw(stage.current, { days, series: coloured, kind, format, height, setAt }), [data]);
  const amount = (one) => (at === null ? one.values.reduce((sum, v) => sum + v, 0) : one.values[at]);
  return html`<figure class="plot">
    <figcaption class="plot-head">
      <span class="plot-title">${title}</span><span class="hint num">${at === null ? "all days" : longDay(days[at])}</span>
    </figcaption>
    <ul class="legend">${coloured.map((one) => html`<li key=${one.label}>
      <span class="swatch" data-colour=${one.colour}></span><span>${one.label}</span> <strong class="num">${format(amount(one))}</strong></li>`)}
    </ul>
    <div class="plot-stage" ref=${stage} aria-hidden="true" style=${{ minHeight: `${height}px` }}></div>
    <details class="plot-table"><summary>The same as a table</summary>
      <div class="table-wrap" tabindex="0" role="region" aria-label=${title}><table>
        <caption class="unseen">${title}</caption>
        <thead><tr><th scope="col">Day</th>${coloured.map((one) => html`<th key=${one.label} scope="col" data-align="end">${one.label}</th>`)}</tr></thead>
        <tbody>${days.map((day, i) => html`<tr key=${day}><th scope="row">${day}</th>
          ${coloured.map((one) => html`<td key=${one.label} data-align="end">${format(one.values[i])}</td>`)}</tr>`)}</tbody>
      </table></div>
    </details>
  </figure>`;
}

function draw(stage, { days, series, kind, format, height, setAt }) {
  const stacked = kind === "bars";
  const drawn = stacked ? heaped(series) : series;
  const style = (name) => resolved(stage, `var(--${name})`);
  const line = { stroke: style("muted"), grid: { stroke: style("line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  const options = {
    width: Math.max(stage.clientWidth, 200),
    height,
    legend: { show: false },
    cursor: { y: false, points: { show: !stacked }, drag: { x: false, y: false } },
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    scales: { x: { range: (_, min, max) => [min - DAY_SECONDS * 0.6, max + DAY_SECONDS * 0.6] }, y: { range: (_, __, max) => [0, max > 0 ? max * 1.08 : 1] } },
    axes: [
      { ...line, grid: { show: false }, size: 30, space: 64, incrs: [1, 2, 7, 14, 30, 90, 365].map((n) => n * DAY_SECONDS), values: (_, ticks) => ticks.map((t) => shortDay(dayOf(t * 1000))) },
      { ...line, size: 62, values: (_, ticks) => ticks.map((t) => format(t)) },
    ],
    series: [{}, ...drawn.map((one) => {
      const colour = style(`series-${one.colour}`);
      return stacked
        ? { fill: colour, stroke: colour, width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.72, 44], radius: 0.12 }) }
        : { stroke: colour, width: 2, points: { show: days.length < 2 } };
    })],
    hooks: { setCursor: [(plot) => setAt(plot.cursor.idx ?? null)] },
  };
  const plot = new uPlot(options, [days.map((day) => Date.parse(day) / 1000), ...drawn.map((one) => one.values)], stage);
  const watcher = new ResizeObserver(() => plot.setSize({ width: Math.max(stage.clientWidth, 200), height }));
  watcher.observe(stage);
  return () => (watcher.disconnect(), plot.destroy());
}

/** Each series upon those before it, the highest first, so that lower ones are drawn over it. */
function heaped(series) {
  const sums = [];
  return series.map((one) => ({
    ...one, values: one.values.map((value, i) => (sums[i] = (sums[i] ?? 0) + value)),
  })).reverse();
}

/** A colour of the stylesheet as the canvas understands it. */
function resolved(stage, colour) {
  const probe = stage.appendChild(document.createElement("i"));
  probe.style.color = colour;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

const dayOf = (ms) => new Date(ms).toISOString().slice(0, 10);
const shown = (options) => (day) => new Date(day).toLocaleDateString(undefined, { ...options, timeZone: "UTC" });
const shortDay = shown({ month: "short", day: "numeric" });
const longDay = shown({ weekday: "short", month: "short", day: "numeric", year: "numeric" });
