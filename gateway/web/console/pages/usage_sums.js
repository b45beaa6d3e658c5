// Arithmetic of the pages of usage and spend: date ranges, and rows of the report as series over days.
// Dollars are added as whole micro-dollars, so that sums are exact.

export const RANGES = [["today", "Today"], ["7d", "7 days"], ["30d", "30 days"], ["month", "This month"], ["last-month", "Last month"]];

/** Measures to plot: the report's column, and how it is called. */
export const MEASURES = [["spent_usd", "Spent"], ["saved_usd", "Saved"], ["images_generated", "Pictures made"], ["started", "New orders"]];

const SHOWN = 7;

/** The days of a named range, seen from `today` ("2026-01-31"). */
export function rangeOf(name, today) {
  const [year, month] = today.split("-").map(Number);
  const first = (y, m) => new Date(Date.UTC(y, m - 1, 1)).toISOString().slice(0, 10);
  return {
    today: { from: today, to: today },
    "7d": { from: plus(today, -6), to: today },
    "30d": { from: plus(today, -29), to: today },
    month: { from: first(year, month), to: today },
    "last-month": { from: first(year, month - 1), to: plus(first(year, month), -1) },
  }[name];
}

export function plus(day, days) {
  return new Date(Date.parse(day) + days * 86_400_000).toISOString().slice(0, 10);
}

/** Adds amounts of a column exactly. */
export function sum(amounts) {
  return amounts.reduce((all, one) => all + Math.round(one * 1e6), 0) / 1e6;
}

/**
 * The rows of a report by day and `key` (team or model) → [{label, values}], a value per day, the
 * largest first; those beyond a few are added up as one.
 */
export function stacked(rows, days, key, measure) {
  const at = new Map(days.map((day, i) => [day, i]));
  const found = new Map();
  for (const row of rows) {
    const values = found.get(row[key]) ?? found.set(row[key], days.map(() => [])).get(row[key]);
    values[at.get(row.day)]?.push(row[measure]);
  }
  const series = [...found].map(([label, values]) => ({ label, values: values.map(sum) }));
  series.sort((a, b) => sum(b.values) - sum(a.values) || a.label.localeCompare(b.label));
  const shown = series.filter((one) => sum(one.values) !== 0);
  if (shown.length <= SHOWN + 1) return shown;
  const rest = shown.slice(SHOWN);
  const others = days.map((_, i) => sum(rest.map((one) => one.values[i])));
  return [...shown.slice(0, SHOWN), { label: `${rest.length} others`, values: others }];
}

/** A column of the rows, over days, as one series. */
export function overDays(rows, days, measure, label) {
  return { label, values: days.map((day) => sum(rows.filter((row) => row.day === day).map((row) => row[measure]))) };
}
