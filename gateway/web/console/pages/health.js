// How the gateway is: ready or why not, its routes, its queue, its disk. It looks again by itself.

import { html, useEffect, useState } from "../vendor/preact.js";
import { send, useData } from "../api.js";
import { link } from "../router.js";
import { zone } from "../session.js";
import { Badge, Button, Card, ErrorBox, Icon, Loading, PageHead, Stat, Table, Time, bytes, count, duration, money, relative, toast } from "../ui.js";
import CachePage from "./cache.js";
import CallbackList from "./callbacks.js";
import Changes from "./changes.js";
import { STATES, State } from "./run_state.js";
import { Tabs } from "./tabs.js";

const EVERY_MS = 5000;
const TABS = [["", "Now"], ["callbacks", "Callbacks"], ["cache", "Cache"], ["changes", "Audit trail"]];
const VIEWS = { callbacks: CallbackList, cache: CachePage, changes: Changes };
const LEADS = {
  "": "What the gateway is doing, and whether it can take orders.",
  callbacks: "Calls to clients and alerts: what was delivered, and what was not.",
  cache: "Answers that are held ready for identical orders.",
  changes: "Who changed what, and when.",
};

export default function Health({ query }) {
  const View = VIEWS[query.view] ?? Now;
  return html`<${PageHead} title="Health">${LEADS[query.view] ?? LEADS[""]}<//>
    <${Tabs} page="health" label="What to look at" tabs=${TABS} view=${query.view} />
    <${View} query=${query} />`;
}

/** Calls `look` every few seconds while the page is in sight, unless it is paused. */
function useLook(look, paused) {
  useEffect(() => {
    if (paused) return;
    const seen = () => document.visibilityState === "visible" && look();
    const timer = setInterval(seen, EVERY_MS);
    document.addEventListener("visibilitychange", seen);
    return () => (clearInterval(timer), document.removeEventListener("visibilitychange", seen));
  }, [paused]);
}

function Now() {
  const { data, error, reload } = useData("admin", "admin/v1/health");
  const others = useData("admin", "admin/v1/replicas");
  const [paused, setPaused] = useState(false);
  useLook(() => (reload(), others.reload()), paused);
  if (!data) return error ? html`<${ErrorBox} error=${error} retry=${reload} />` : html`<${Loading} />`;
  return html`<${ErrorBox} error=${error} retry=${reload} title="This may be out of date." />
    <${Ready} health=${data} paused=${paused} onPause=${() => setPaused(!paused)} />
    <${Numbers} health=${data} checkedHere=${others.data?.chores_here ?? true} />
    <${Replicas} found=${others.data} />
    <${Routes} routes=${data.routes} />
    <div class="split">
      <${Card} title="Runs by state"><${States} runs=${data.runs} /><//>
      <div class="stack">
        <${Card} title="Stores"><${Stores} health=${data} /><//>
        <${Settings} last=${data.settings} onReloaded=${reload} />
      </div>
    </div>`;
}

const LATE_SECONDS = 600;

/** Whether a paid picture has waited for so long that somebody should look. */
const isLate = ({ oldest_unkept_seconds: unkept }) => unkept !== null && unkept > LATE_SECONDS;

function Ready({ health, paused, onPause }) {
  const late = isLate(health);
  const tone = !health.ready ? "bad" : late ? "warn" : "good";
  return html`<div class="ready" data-tone=${tone}>
    <${Icon} name=${tone === "good" ? "circle-check" : "triangle-alert"} size="large" />
    <div role="status"><p class="ready-word">${health.ready ? "Ready to take orders" : "Takes no orders"}${health.ready && late && ", and a paid picture is not kept yet"}</p>
      ${late && html`<p>For ${duration(health.oldest_unkept_seconds)} it could not be fetched. <a href=${link("runs", [], { state: "keeping" })}>See which</a></p>`}
      ${health.reasons.length > 0 && html`<ul>${health.reasons.map((reason) => html`<li key=${reason}>${reason}</li>`)}</ul>`}</div>
    <div class="ready-foot"><p class="hint">Version ${health.version}, up ${duration((Date.parse(health.now) - Date.parse(health.started_at)) / 1000)}</p>
      <p class="hint">As of <time datetime=${health.now} data-now=${health.now}>${new Date(health.now).toLocaleTimeString(undefined, { timeZone: zone.value })}</time></p>
      <${Button} kind="quiet" icon=${paused ? "play" : "pause"} onClick=${onPause}>${paused ? "Go on refreshing" : "Stop refreshing"}<//></div>
  </div>`;
}

function Numbers({ health, checkedHere }) {
  const { oldest_unkept_seconds: unkept, queue, disk, ledger } = health;
  const low = disk.free_bytes !== null && disk.free_bytes < disk.floor_bytes * 2;
  const broken = ledger.violations;
  return html`<div class="stats">
    <${Stat} label="Oldest unkept picture" value=${unkept === null ? "None" : duration(unkept)} note="paid, and not in the store yet" tone=${isLate(health) ? "bad" : unkept > 120 ? "warn" : undefined} />
    <${Stat} label="Runs to go on with" value=${count(queue.due)} note=${queue.callbacks_pending ? `${count(queue.callbacks_pending)} callbacks wait to be sent` : "no callback waits"} />
    <${Stat} label="Free on the disk" value=${bytes(disk.free_bytes)} tone=${low ? "bad" : undefined} note=${`new runs stop below ${bytes(disk.floor_bytes)}`} />
    <${Stat} label="Ledger check" value=${broken === null ? (checkedHere ? "Not yet" : "By another") : broken ? `${count(broken)} wrong` : "It adds up"} tone=${broken ? "bad" : broken === 0 ? "good" : undefined}
      note=${ledger.checked_at ? relative(ledger.checked_at) : checkedHere ? "" : "gateway of this ledger"} />
  </div>`;
}

/** The gateways that share the ledger, where there are several. */
function Replicas({ found }) {
  if (!found || found.data.length < 2) return null;
  const mine = found.data.find((one) => one.this)?.settings;
  return html`<h2>Gateways</h2>
    <div class="cards"><${Table} caption="Gateways" rows=${found.data} rowKey=${(one) => one.id} columns=${[
      { name: "name", head: "Gateway", wide: true, cell: (one) => one.this ? `${one.name} (this one)` : one.name },
      { name: "alive", head: "State", cell: (one) => one.alive ? html`<${Badge} tone="good">Lives<//>` : html`<${Badge} tone="bad">Silent<//> <${Time} at=${one.seen_at} how="relative" />` },
      { name: "started", head: "Started", cell: (one) => html`<${Time} at=${one.started_at} how="relative" />` },
      { name: "settings", head: "Settings", cell: (one) => one.settings === mine ? "The same" : html`<${Badge} tone="warn">Others<//>` },
    ]} /></div>`;
}

const BREAKERS = { closed: ["good", "Up"], half_open: ["warn", "On trial"], open: ["bad", "Left alone"] };

/** The lowest and the highest price of a picture, or the one there is. */
const prices = ([low, high]) => low === high ? money(low) : `${money(low)} to ${money(high)}`;

function Routes({ routes }) {
  return html`<h2>Routes</h2>
    <div class="cards"><${Table} caption="Routes" rows=${routes} rowKey=${(one) => `${one.model}|${one.route}`} columns=${[
      { name: "route", head: "Route", wide: true, cell: (one) => html`<a href=${link("runs", [], { route: one.route })}>${one.route}</a>` },
      { name: "serves", head: "For model", cell: (one) => html`${one.serves.join(", ")}${one.another_model && html` <span class="muted">as another model</span>`}` },
      { name: "kind", head: "Kind", cell: (one) => one.kind },
      { name: "price", head: "A picture", cell: (one) => html`<span class="num">${prices(one.price_usd)}</span>${one.counts_tokens && html` <span class="muted">at most</span>`}` },
      { name: "state", head: "State", cell: (one) => {
        const [tone, word] = BREAKERS[one.state] ?? ["none", one.state];
        return html`<${Badge} tone=${tone}>${word}<//>`;
      } },
    ]} /></div>`;
}

function States({ runs }) {
  const shown = Object.keys(STATES).filter((state) => runs[state] > 0);
  if (!shown.length) return html`<p class="muted">Nothing was ordered yet.</p>`;
  return html`<ul class="state-list">${shown.map((state) => html`<li key=${state}>
    <a href=${link("runs", [], { state })}><${State} state=${state} /></a><span class="num">${count(runs[state])}</span></li>`)}</ul>`;
}

function Stores({ health }) {
  return html`<dl class="facts">
    <dt><${Icon} name="images" /> Pictures</dt><dd class="num">${count(health.pictures.count)}, ${bytes(health.pictures.bytes)}</dd>
    <dt><${Icon} name="zap" /> Cache</dt><dd class="num">${count(health.cache.entries)} answers, ${bytes(health.cache.bytes)}</dd>
    <dt><${Icon} name="hard-drive" /> Disk</dt><dd class="num">${bytes(health.disk.free_bytes)} free</dd>
    <dt><${Icon} name="database" /> Ledger</dt><dd>${health.ledger.checked_at ? html`checked <${Time} at=${health.ledger.checked_at} how="relative" />` : "not checked yet"}</dd>
  </dl>`;
}

/** Reads the settings file again: all or nothing, and what is wrong is listed. */
function Settings({ last, onReloaded }) {
  const [state, setState] = useState({ busy: false, error: null, done: null });
  const reload = async () => {
    setState({ busy: true, error: null, done: null });
    try {
      const done = await send("admin", "POST", "admin/v1/settings/reload");
      setState({ busy: false, error: null, done });
      toast("The settings are reloaded");
    } catch (error) {
      setState({ busy: false, error, done: null });
    }
    onReloaded();
  };
  return html`<${Card} title="Settings" actions=${html`<${Button} icon="refresh-cw" busy=${state.busy} onClick=${reload}>Reload settings<//>`}>
    <p>${!last.reloaded_at ? "As they were read at the start." : last.successful
      ? html`Read <${Time} at=${last.reloaded_at} how="relative" />, and in force.`
      : html`<${Badge} tone="bad" icon="circle-alert">The file has mistakes<//> It was read <${Time} at=${last.reloaded_at} how="relative" /> and not taken over: those before are in force.`}</p>
    ${state.done && html`<${Reloaded} done=${state.done} />`}
    ${state.error && html`<${Problems} error=${state.error} />`}
  <//>`;
}

function Reloaded({ done }) {
  return html`<div class="note" data-tone=${done.restart_needed.length ? "warn" : "good"} role="status"><${Icon} name=${done.restart_needed.length ? "triangle-alert" : "check"} />
    <div>${done.restart_needed.length
      ? html`<p>Reloaded. These take a restart:</p><ul class="problems">${done.restart_needed.map((path) => html`<li key=${path}><code>${path}</code></li>`)}</ul>`
      : html`<p>Reloaded. Everything is in force.</p>`}
      ${done.notices.length > 0 && html`<ul class="problems">${done.notices.map((one) => html`<li key=${one}>${one}</li>`)}</ul>`}</div></div>`;
}

/** One problem a line, as the gateway wrote them. */
function Problems({ error }) {
  if (error.code !== "invalid_settings") return html`<${ErrorBox} error=${error} />`;
  const lines = error.message.split("\n").filter((line) => line.trim());
  return html`<div class="note" data-tone="bad" role="alert"><${Icon} name="circle-alert" /><div><p>Nothing was taken over. The file has to be mended first:</p>
    <ul class="problems">${lines.map((line, i) => html`<li key=${i}>${line}</li>`)}</ul></div></div>`;
}
