// Why one order went the way it did: in words first, then step by step.

import { html } from "../vendor/preact.js";
import { pictureUrl, useData } from "../api.js";
import { link } from "../router.js";
import { Badge, ButtonLink, Card, Code, Empty, ErrorBox, Icon, Loading, PageHead, Stat, Table, Time, count, duration, money, worded } from "../ui.js";
import { summaries, zone } from "../session.js";
import { curl } from "../team/snippets.js";
import { Verdict, ordered } from "./refusals.js";
import { STATES, State } from "./run_state.js";

export default function Run({ id }) {
  const { data, error, reload } = useData("admin", `admin/v1/runs/${encodeURIComponent(id)}`);
  const refused = data?.kind === "refusal";
  return html`<p class="crumbs"><a href=${link("runs", [], refused ? { view: "refused" } : {})}><${Icon} name="arrow-left" />${refused ? "Refused orders" : "All runs"}</a></p>
    <${PageHead} title=${headOf(data)} actions=${data?.run && !data.run.finished_at && html`
      <${ButtonLink} icon="refresh-cw" href=${link("runs", [id])} onClick=${(e) => (e.preventDefault(), reload())}>Refresh<//>`}>
      ${refused ? "Refused order" : "Run"} <span class="mono id">${refused ? id : (data?.run?.id ?? id)}</span>
    <//>
    <${ErrorBox} error=${error} retry=${reload} title=${error?.status === 404 ? "There is nothing by this id." : undefined} />
    ${!data && !error && html`<${Loading} />`}
    ${data && html`<div class="explained" data-tone=${toneOf(data)}><${Icon} name=${refused ? "ban" : "info"} /><p>${data.summary}</p></div>`}
    ${data?.refusal && html`<${Refused} refusal=${data.refusal} />`}
    ${data?.others.map((one) => html`<${Refused} key=${one.id} refusal=${one} title="Another request of that name" />`)}
    ${data?.run && html`<${Whole} data=${data} />`}`;
}

const HEAD_CHARACTERS = 140;

/** The prompt, or as much of it as a heading holds. */
function headOf(data) {
  const prompt = data?.run?.prompt || data?.refusal?.asked.prompt || "";
  const shown = prompt.length > HEAD_CHARACTERS ? `${[...prompt].slice(0, HEAD_CHARACTERS).join("")}…` : prompt;
  return shown || (data?.kind === "refusal" ? "Refused order" : "Run");
}

function toneOf({ kind, run }) {
  if (kind === "refusal" || run?.state === "failed") return "bad";
  return run?.state === "done" ? "good" : "info";
}

function Refused({ refusal, title = "The order" }) {
  const { asked } = refusal;
  return html`<${Card} title=${title}><dl class="facts">
    <dt>Verdict</dt><dd><${Verdict} refusal=${refusal} /></dd>
    <dt>Reason</dt><dd>${refusal.reason}</dd>
    ${refusal.rule && html`<dt>Rule</dt><dd><code>${refusal.rule}</code></dd>`}
    ${refusal.param && html`<dt>Field</dt><dd><code>${refusal.param}</code></dd>`}
    <dt>Answer</dt><dd>${refusal.message}</dd>
    <dt>Team</dt><dd><a href=${link("teams", [refusal.team])}>${refusal.team}</a></dd>
    <dt>Ordered</dt><dd>${ordered(refusal).join(" · ") || "It could not be read"}</dd>
    ${asked.prompt && html`<dt>Prompt</dt><dd class="whole-prompt">${asked.prompt}</dd>`}
    ${asked.key && html`<dt>Key</dt><dd>${asked.key_label} <span class="mono muted">${asked.key}</span></dd>`}
    <dt>Request</dt><dd class="mono">${refusal.request_id}</dd>
    <dt>When</dt><dd><${Time} at=${refusal.at} /></dd>
    ${refusal.task && html`<dt>Its task</dt><dd><a class="mono" href=${link("runs", [refusal.task])}>${refusal.task}</a></dd>`}
  </dl><//>`;
}

function Whole({ data }) {
  const { run, timings, steps, tasks, tasks_total: total, pictures } = data;
  return html`<div class="stats">
      <${Stat} label="State" value=${STATES[run.state]?.[1] ?? run.state} tone=${STATES[run.state]?.[0]} note=${run.failure?.code} />
      <${Stat} label="Cost" value=${money(run.spent_usd)} note=${run.held_usd > 0 ? `${money(run.held_usd)} reserved` : `at most ${money(run.price_usd * run.n)}`} />
      <${Stat} label="Took" value=${duration(run.seconds)} />
      <${Stat} label="Waited for by" value=${count(total)} note=${total === 1 ? "task" : "tasks"} />
    </div>
    ${pictures.length > 0 && html`<${Card} title="Pictures"><${Shots} pictures=${pictures} /><//>`}
    <div class="split">
      <div class="stack">
        <${Card} title="Steps"><${Steps} steps=${steps} /><//>
        ${timings && html`<${Card} title="Where the time went"><${Timings} timings=${timings} /><//>`}
      </div>
      <${Card} title="Facts"><${Facts} run=${run} /><//>
    </div>
    <${Card} title=${`Tasks (${count(total)})`}><${Tasks} tasks=${tasks} total=${total} /><//>
    ${run.prompt && html`<${Card} title="The request"><p class="hint">As a program sends it, with a team's key in GATEWAY_KEY. An identical order is answered from the cache where it can be.</p>
      <${Code} label="The request as a command" text=${curl(run.request, summaries.admin.value?.public_url ?? location.origin)} /><//>`}`;
}

function Shots({ pictures }) {
  return html`<ul class="shots">${pictures.map((one) => html`<li key=${one.digest}>${one.erased_at
    ? html`<div class="shot gone"><${Icon} name="eraser" />Erased</div>`
    : html`<a href=${pictureUrl(one.url)} target="_blank" rel="noopener"><img class="shot" src=${pictureUrl(one.url)} loading="lazy" width=${one.width} height=${one.height} alt=${`${one.prompt.slice(0, 120)} (opens the picture)`} /></a>`}
  </li>`)}</ul>`;
}

function Steps({ steps }) {
  if (!steps.length) return html`<${Empty} icon="history" title="No step is remembered." />`;
  const start = Date.parse(steps[0].at);
  return html`<ol class="timeline">${steps.map((step, i) => html`<li key=${i} data-state=${step.after}>
    <div class="step-head"><strong>${worded(step.event)}</strong>
      ${step.before !== step.after && html`<${State} state=${step.after} />`}
      <time class="hint num" datetime=${step.at} title=${step.at}>${i ? `+${duration((Date.parse(step.at) - start) / 1000)}` : new Date(step.at).toLocaleTimeString(undefined, { timeZone: zone.value })}</time></div>
    ${step.detail && html`<p>${step.detail}</p>`}
    ${step.route && (i === 0 || step.route !== steps[i - 1].route) && html`<p class="hint"><${Icon} name="route" /> ${step.route}</p>`}
  </li>`)}</ol>`;
}

const PHASES = [["waiting_seconds", "Waiting for a route", 8], ["upstream_seconds", "Upstream at work", 1], ["keeping_seconds", "Keeping the pictures", 2]];

function Timings({ timings }) {
  const known = PHASES.filter(([name]) => timings[name] !== null);
  const total = known.reduce((sum, [name]) => sum + timings[name], 0);
  return html`<div class="phases" aria-hidden="true">${known.map(([name, , colour]) => html`<span key=${name} class="swatch" data-colour=${colour}
      style=${{ flexGrow: total ? timings[name] / total : 1 }}></span>`)}</div>
    <ul class="phase-list">${PHASES.map(([name, label, colour]) => html`<li key=${name}><span class="swatch" data-colour=${colour}></span><span>${label}</span><span class="num">${duration(timings[name])}</span></li>`)}
      <li><span></span><strong>In all</strong><strong class="num">${duration(timings.total_seconds)}</strong></li></ul>`;
}

function Facts({ run }) {
  return html`<dl class="facts">
    <dt>Prompt</dt><dd class="whole-prompt">${run.prompt}</dd>
    <dt>Team</dt><dd><a href=${link("teams", [run.team])}>${run.team}</a></dd>
    <dt>Model</dt><dd>${run.model}</dd>
    <dt>Asked</dt><dd>${[run.size, run.quality, `${run.n} ${run.n === 1 ? "picture" : "pictures"}`].filter(Boolean).join(" · ")}</dd>
    <dt>Route</dt><dd>${run.route}${run.tried.length > 0 && html`<p class="hint">tried before: ${run.tried.join(", ")}</p>`}</dd>
    <dt>Attempts</dt><dd>${count(run.attempts)}</dd>
    <dt>Joined by</dt><dd>${count(run.joins)} ${run.joins === 1 ? "order" : "orders"}</dd>
    ${run.state === "done" && html`<dt>Its result</dt><dd>${run.shared ? "Answers identical orders" : "Answers no other order"}</dd>`}
    ${run.credits_used !== null && html`<dt>Credits</dt><dd class="num">${run.credits_used}</dd>`}
    ${run.upstream_task_id && html`<dt>Upstream's task</dt><dd class="mono">${run.upstream_task_id}</dd>`}
    <dt>Created</dt><dd><${Time} at=${run.created_at} /></dd>
    ${run.accepted_at && html`<dt>Accepted</dt><dd><${Time} at=${run.accepted_at} /></dd>`}
    ${run.finished_at ? html`<dt>Finished</dt><dd><${Time} at=${run.finished_at} /></dd>` : html`<dt>Deadline</dt><dd><${Time} at=${run.deadline_at} how="relative" /></dd>`}
    ${run.failure && html`<dt>Failure</dt><dd><${Badge} tone="bad">${run.failure.code}<//> ${run.failure.message}</dd>`}
  </dl>`;
}

function Tasks({ tasks, total }) {
  return html`<${Table} caption="Tasks" rows=${tasks} rowKey=${(task) => task.id} columns=${[
      { name: "id", head: "Task", cell: (task) => html`<span class="mono">${task.id}</span>` },
      { name: "team", head: "Team", cell: (task) => task.team },
      { name: "verdict", head: "Verdict", cell: (task) => html`<${Badge}>${task.verdict}<//>` },
      { name: "at", head: "Asked", cell: (task) => html`<span class="still"><${Time} at=${task.created_at} /></span>` },
    ]} />
    ${total > tasks.length && html`<p class="hint">The first ${count(tasks.length)} of ${count(total)}.</p>`}`;
}
