// The parts that pages are made of. Text goes in as text: nothing here takes HTML.

import { html, signal, useEffect, useId, useRef, useState } from "./vendor/preact.js";
import { zone } from "./session.js";

const SPRITE = new URL("icons.svg", import.meta.url).href;

// --- small things ------------------------------------------------------------------------------

/** Whether the icons lie in the page itself: those of a file are asked for anew, and are missing without a network. */
const taken = signal(false);

fetch(SPRITE).then((answer) => (answer.ok ? answer.text() : Promise.reject(answer))).then(takeIn).catch(() => {});

function takeIn(text) {
  const sprite = document.importNode(new DOMParser().parseFromString(text, "image/svg+xml").documentElement, true);
  sprite.querySelectorAll("symbol").forEach((one) => (one.id = `icon-${one.id}`));
  sprite.setAttribute("class", "sprite");
  sprite.setAttribute("aria-hidden", "true");
  document.body.append(sprite);
  taken.value = true;
}

/** A picture from icons.svg. Decorative unless it has a `label`. */
export function Icon({ name, label, size }) {
  const hidden = label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" };
  return html`<svg class="icon" data-size=${size} ...${hidden}><use href=${taken.value ? `#icon-${name}` : `${SPRITE}#${name}`} /></svg>`;
}

/** `kind`: primary, plain (default), quiet, danger. `busy` shows that it is at work, and blocks it. */
export function Button({ kind = "plain", icon, busy = false, disabled = false, children, ...rest }) {
  return html`<button type="button" class="button" data-kind=${kind} disabled=${disabled || busy}
    aria-busy=${busy ? "true" : undefined} ...${rest}>
    ${icon && html`<${Icon} name=${busy ? "loader-circle" : icon} />`}
    ${children && html`<span>${children}</span>`}
  </button>`;
}

/** A link that looks like a button. */
export function ButtonLink({ kind = "plain", icon, children, ...rest }) {
  return html`<a class="button" data-kind=${kind} ...${rest}>
    ${icon && html`<${Icon} name=${icon} />`}<span>${children}</span></a>`;
}

/** A word in a colour of its own. `tone`: good, warn, bad, info or none. */
export function Badge({ tone = "none", icon, children }) {
  return html`<span class="badge" data-tone=${tone}>${icon && html`<${Icon} name=${icon} />`}${children}</span>`;
}

// --- amounts and times -------------------------------------------------------------------------

/** US dollars with the decimals that they need, at least two, as the commands show them: $12.30, $4.988. */
export function money(usd) {
  if (usd === null || usd === undefined) return "–";
  return usd.toLocaleString("en-US", {
    style: "currency", currency: "USD", minimumFractionDigits: 2, maximumFractionDigits: 6,
  });
}

export const count = (n) => (n === null || n === undefined ? "–" : n.toLocaleString("en-US"));

/** A share in whole per cent, which is 0 or 100 only where it is nothing or all. */
export function percent(part, whole) {
  if (!whole) return "–";
  const share = (100 * part) / whole;
  if (share > 0 && share < 1) return "< 1 %";
  return `${share < 100 ? Math.min(99, Math.round(share)) : 100} %`;
}

/** 1.2 MB and the like. */
export function bytes(n) {
  if (n === null || n === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (n >= 1000 && at < units.length - 1) (n /= 1000), (at += 1);
  return `${at && n < 10 ? n.toFixed(1) : Math.round(n)} ${units[at]}`;
}

/** 6 ms, 1.4 s, 12 s, 3 min 5 s, 2 h 10 min, 4 d 3 h. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return parted(whole, 60, "min", 1, "s");
  if (whole < 86400) return parted(whole, 3600, "h", 60, "min");
  return parted(whole, 86400, "d", 3600, "h");
}

function parted(whole, large, largeName, small, smallName) {
  const rest = Math.floor((whole % large) / small);
  return `${Math.floor(whole / large)} ${largeName}${rest ? ` ${rest} ${smallName}` : ""}`;
}

/** "in 3 h 20 min" or "5 min 2 s ago", of a time in RFC 3339. */
export function relative(at, now = Date.now()) {
  const seconds = (Date.parse(at) - now) / 1000;
  if (Math.abs(seconds) < 5) return "just now";
  const away = Math.abs(seconds) < 10 ? `${Math.round(Math.abs(seconds))} s` : duration(Math.abs(seconds));
  return seconds > 0 ? `in ${away}` : `${away} ago`;
}

/** A name as words: "PicturesKept" is "Pictures kept". */
export function worded(name) {
  const words = name.replace(/[_.]/g, " ").replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
  return words[0].toUpperCase() + words.slice(1);
}

export function Money({ usd }) {
  return html`<span class="num">${money(usd)}</span>`;
}

/** A time in RFC 3339, told in the operator's zone, which the foot of the page names. `how`: at (default), relative, day. */
export function Time({ at, how = "at" }) {
  if (!at) return html`<span class="muted">–</span>`;
  const when = new Date(at);
  const timeZone = zone.value;
  const whole = `${when.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium", timeZone })} ${timeZone}`;
  const shown = {
    relative: () => relative(at),
    day: () => when.toLocaleDateString(undefined, { dateStyle: "medium", timeZone }),
    at: () => momentWords(at),
  }[how]();
  return html`<time datetime=${at} title=${whole}>${shown}</time>`;
}

const momentWords = (at) => new Date(at).toLocaleString(undefined, {
  month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", timeZone: zone.value,
});

const MOMENT = /\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g;

/** What the gateway says for programs, with its times (in UTC) told as all others of the page. */
export const withTimes = (text) => String(text ?? "").replace(MOMENT, momentWords);

// --- forms -------------------------------------------------------------------------------------

/**
 * A labelled control. Its child is a function that gets {id, "aria-describedby", "aria-invalid"} to
 * spread on the control: html`<${Field} label="Name" error=${e}>${(a) => html`<input ...${a} />`}<//>`.
 */
export function Field({ label, hint, error, wide = false, aside, children }) {
  const id = useId();
  const described = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ");
  const attributes = {
    id, "aria-describedby": described || undefined, "aria-invalid": error ? "true" : undefined,
  };
  const control = Array.isArray(children) ? children.find((one) => typeof one === "function") : children;
  return html`<div class="field" data-wide=${wide ? "" : undefined}>
    <div class="field-label"><label for=${id}>${label}</label>${aside}</div>
    ${control(attributes)}
    ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
    ${error && html`<p class="field-error" id=${`${id}-error`}><${Icon} name="circle-alert" />${error}</p>`}
  </div>`;
}

/** `options`: [[value, text], …] or [text, …]. */
export function Select({ options, value, ...rest }) {
  return html`<select value=${value} ...${rest}>
    ${options.map((one) => {
      const [key, text] = Array.isArray(one) ? one : [one, one];
      return html`<option key=${key} value=${key} selected=${key === value}>${text}</option>`;
    })}
  </select>`;
}

/** One of a few, all in sight. `options` as in Select; `onChoose(value)`. */
export function Segments({ label, options, value, onChoose }) {
  const name = useId();
  return html`<fieldset class="segments"><legend class="unseen">${label}</legend>
    ${options.map((one) => {
      const [key, text] = Array.isArray(one) ? one : [one, one];
      return html`<label key=${key}><input type="radio" name=${name} value=${key} checked=${key === value}
        onChange=${() => onChoose(key)} /><span>${text}</span></label>`;
    })}
  </fieldset>`;
}

// --- budgets -----------------------------------------------------------------------------------

const MEASURES = { usd: "Budget", images: "Pictures", runs: "New requests", live: "At the same time" };
const WINDOWS = { minute: "per minute", hour: "this hour", day: "today", week: "this week", month: "this month", total: "in all", now: "" };

/** A limit in words: "Budget today". */
export function standingName({ measure, window }) {
  return measure === "live" ? MEASURES.live : `${MEASURES[measure] ?? measure} ${WINDOWS[window] ?? window}`.trim();
}

/** One limit as a bar: what is spent, what is reserved for what is being made, what is left, when it resets. */
export function Bar({ standing }) {
  const { measure, limit, spent, held, left, resets_at: resets } = standing;
  const shown = measure === "usd" ? money : count;
  const part = (amount) => `${limit > 0 ? Math.min(100, (100 * amount) / limit) : 100}%`;
  const used = limit > 0 ? (spent + held) / limit : 1;
  const tone = used >= 1 ? "bad" : used >= 0.8 ? "warn" : "good";
  const name = standingName(standing);
  const word = measure === "usd" ? "spent" : "used";
  const text = `${shown(spent)} ${word}${held ? `, ${shown(held)} reserved` : ""}, ${shown(left)} left of ${shown(limit)}`;
  return html`<div class="bar" data-tone=${tone}>
    <div class="bar-head"><span>${name}</span><span class="num"><strong>${shown(left)}</strong> left of ${shown(limit)}</span></div>
    <div class="bar-track" role="meter" aria-label=${name} aria-valuemin="0" aria-valuemax=${limit}
      aria-valuenow=${Math.min(limit, spent + held)} aria-valuetext=${text}>
      <span class="bar-spent" style=${{ width: part(spent) }}></span><span class="bar-held" style=${{ width: part(held) }}></span>
    </div>
    <div class="bar-foot"><span class="num">${shown(spent)} ${word}${held ? ` · ${shown(held)} reserved` : ""}</span>
      ${resets && html`<span>resets <${Time} at=${resets} how="relative" /></span>`}</div>
  </div>`;
}

// --- lists -------------------------------------------------------------------------------------

/**
 * A table. `columns`: [{name, head, group?, cell(row), align: "end"?, wide?}]; `rowKey(row)`; `onOpen(row)` makes
 * rows clickable (give keyboard users a link or button in a cell as well). `busy` dims it. Columns of one `group` that
 * stand beside each other have that head above theirs.
 */
export function Table({ caption, columns, rows, rowKey, onOpen, busy = false, foot }) {
  const cells = (row) => columns.map((c) => html`<td key=${c.name} data-align=${c.align} data-label=${c.head}
    data-wide=${c.wide ? "" : undefined}>${c.cell(row)}</td>`);
  const open = (row, event) => event.target.closest("a, button, input, select") || onOpen?.(row);
  return html`<div class="table-wrap" tabindex="0" role="region" aria-label=${caption}>
    <table aria-busy=${busy ? "true" : undefined} data-open=${onOpen ? "" : undefined}>
      <caption class="unseen">${caption}</caption>
      <thead>${columns.some((c) => c.group) && html`<tr class="groups">${grouped(columns).map(({ group, span }, i) => group
        ? html`<th key=${i} scope="colgroup" colspan=${span}>${group}</th>` : html`<td key=${i} colspan=${span}></td>`)}</tr>`}
      <tr>${columns.map((c) => html`<th key=${c.name} scope="col" data-align=${c.align}>${c.head}</th>`)}</tr></thead>
      <tbody>${rows.map((row) => html`<tr key=${rowKey(row)} onClick=${onOpen && ((e) => open(row, e))}>${cells(row)}</tr>`)}</tbody>
      ${foot && html`<tfoot>${foot}</tfoot>`}
    </table>
  </div>`;
}

/** Columns beside each other that have the same group, or none. */
function grouped(columns) {
  const found = [];
  for (const { group = "" } of columns) {
    if (found.at(-1)?.group === group) found.at(-1).span += 1;
    else found.push({ group, span: 1 });
  }
  return found;
}

/** The end of a `useList`: its error, "Show more", or that there is nothing. */
export function ListEnd({ list, empty }) {
  if (list.error) return html`<${ErrorBox} error=${list.error} retry=${list.reload} />`;
  if (list.loading && !list.rows.length) return html`<${Loading} />`;
  if (!list.rows.length) return empty ?? html`<${Empty} title="Nothing here yet." />`;
  return list.more && html`<div class="list-end"><${Button} icon="chevron-down" busy=${list.loading} onClick=${list.more}>Show more<//></div>`;
}

export function Loading({ label = "Loading…" }) {
  return html`<p class="loading" role="status"><${Icon} name="loader-circle" /> ${label}</p>`;
}

export function Empty({ icon = "inbox", title, children }) {
  return html`<div class="empty"><${Icon} name=${icon} size="large" /><p class="empty-title">${title}</p>${children}</div>`;
}

/** An `ApiError`, or any other, for people: what happened, what to do, and the id to ask about. */
export function ErrorBox({ error, title, retry, children }) {
  if (!error) return null;
  return html`<div class="error-box" role="alert">
    <${Icon} name="circle-alert" />
    <div>
      ${title && html`<p class="error-title">${title}</p>`}
      <p>${withTimes(error.message)}</p>
      ${children}
      ${error.requestId && html`<p class="hint">Request <code>${error.requestId}</code></p>`}
      ${retry && error.status !== 404 && html`<${Button} icon="refresh-cw" onClick=${retry}>Try again<//>`}
    </div>
  </div>`;
}

// --- what lies above the page ------------------------------------------------------------------

/** A modal window, closed by Escape, by its own button, or a click beside it. */
export function Dialog({ title, onClose, wide = false, children, foot }) {
  const ref = useRef(null);
  const id = useId();
  useEffect(() => {
    const before = document.activeElement;
    ref.current.showModal();
    return () => before?.focus();
  }, []);
  const beside = (event) => event.target === ref.current && onClose();
  return html`<dialog ref=${ref} class="dialog" data-wide=${wide ? "" : undefined} aria-labelledby=${id} onMouseDown=${beside}
    onCancel=${(e) => (e.preventDefault(), onClose())}>
    <div class="dialog-inside">
      <header class="dialog-head"><h2 id=${id}>${title}</h2>
        <${Button} kind="quiet" icon="x" aria-label="Close" onClick=${onClose} /></header>
      <div class="dialog-body">${children}</div>
      ${foot && html`<footer class="dialog-foot">${foot}</footer>`}
    </div>
  </dialog>`;
}

/** Asks before something that cannot be undone. `act` is awaited; its error is shown. `disabled`: not yet. */
export function Confirm({ title, action = "Delete", act, onClose, disabled = false, children }) {
  const [state, setState] = useState({ busy: false, error: null });
  const go = async () => {
    setState({ busy: true, error: null });
    try {
      await act();
      onClose();
    } catch (error) {
      setState({ busy: false, error });
    }
  };
  return html`<${Dialog} title=${title} onClose=${onClose} foot=${html`
    <${Button} onClick=${onClose}>Cancel<//><${Button} kind="danger" busy=${state.busy} disabled=${disabled} onClick=${go}>${action}<//>`}>
    ${children}<${ErrorBox} error=${state.error} />
  <//>`;
}

const toasts = signal([]);

/** A short message at the edge, also read out. `tone`: good, bad or none. */
export function toast(text, tone = "good") {
  const one = { text, tone };
  toasts.value = [...toasts.value.slice(-2), one];
  setTimeout(() => (toasts.value = toasts.value.filter((other) => other !== one)), 5000);
}

export function Toasts() {
  return html`<div class="toasts" role="status" aria-live="polite">
    ${toasts.value.map((one) => html`<p key=${one} class="toast" data-tone=${one.tone}>
      <${Icon} name=${one.tone === "bad" ? "circle-alert" : "check"} />${one.text}</p>`)}
  </div>`;
}

/** Copies a text, and says so; `onCopied` is told. */
export function CopyButton({ text, label = "Copy", kind = "plain", icon = "copy", onCopied, ...rest }) {
  const [told, setTold] = useState("");
  const copy = async () => {
    const copied = await copyText(text);
    setTold(copied ? "Copied" : "Not copied");
    if (copied) onCopied?.();
    setTimeout(() => setTold(""), copied ? 2000 : 5000);
  };
  const shown = { Copied: "check", "Not copied": "circle-alert" }[told] ?? icon;
  return html`<${Button} kind=${kind} icon=${shown} onClick=${copy} ...${rest}>${told || label}<//>
    <span class="unseen" role="status">${told}</span>`;
}

/**
 * Whether the text is in the clipboard now. A browser may refuse it, and pages that are not served over https have
 * none but on this machine: then it is tried as a reader would, by marking a text and copying it.
 */
async function copyText(text) {
  if (navigator.clipboard) {
    const copied = await navigator.clipboard.writeText(text).then(() => true, () => false);
    if (copied) return true;
  }
  const before = document.activeElement;
  const area = Object.assign(document.createElement("textarea"), { value: text });
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  before?.focus();
  return copied;
}

/** Text in a fixed width, with a button to copy it. */
export function Code({ text, label = "Code" }) {
  return html`<div class="code"><pre tabindex="0" role="region" aria-label=${label}><code>${text}</code></pre><${CopyButton} text=${text} kind="quiet" label="Copy" /></div>`;
}

// --- pages -------------------------------------------------------------------------------------

/** The top of a page. `actions` stand at the right. */
export function PageHead({ title, children, actions }) {
  useEffect(() => void (document.title = `${title} – Image Gateway`), [title]);
  return html`<header class="page-head"><div><h1 tabindex="-1">${title}</h1>${children && html`<p class="lead">${children}</p>`}</div>
    ${actions && html`<div class="page-actions">${actions}</div>`}</header>`;
}

/** A number to look at first. */
export function Stat({ label, value, note, tone }) {
  return html`<div class="stat" data-tone=${tone}><p class="stat-label">${label}</p><p class="stat-value num">${value}</p>
    ${note && html`<p class="stat-note">${note}</p>`}</div>`;
}

/** A box with a heading. */
export function Card({ title, actions, children, ...rest }) {
  return html`<section class="card" ...${rest}>
    ${(title || actions) && html`<header class="card-head">${title && html`<h2>${title}</h2>`}${actions}</header>`}
    ${children}</section>`;
}

/** The value, once it has been still for a while. */
export function useSettled(value, ms = 300) {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms);
    return () => clearTimeout(timer);
  }, [value, ms]);
  return settled;
}
