// What became of an order: its progress, its pictures, or why there are none.

import { html, useEffect, useState } from "../vendor/preact.js";
import { pictureUrl } from "../api.js";
import { Badge, Button, Card, Empty, ErrorBox, Icon, Time, duration, money } from "../ui.js";
import { PictureActions, PictureDialog, fileName } from "./pictures.js";
import { use } from "./order.js";
import { generate, shown } from "./work.js";

export function Result() {
  const work = shown.value;
  if (!work) return html`<${Card} class="card result"><${Empty} icon="image" title="Your picture appears here">
    <p>Write a prompt and press Generate. An order that was made before costs nothing.</p><//><//>`;
  return html`<${Card} class="card result" key=${work.key}>
    <header class="result-head"><${How} work=${work} /><${Clock} work=${work} /></header>
    <p class="result-prompt">${work.body.prompt || html`<span class="muted">The prompt is not known any more.</span>`}</p>
    <${Outcome} work=${work} />
  <//>`;
}

function Outcome({ work }) {
  if (work.phase === "done") return html`<${Pictures} work=${work} />`;
  if (work.phase === "refused") return html`<${Refused} work=${work} />`;
  if (work.phase === "failed") return html`<${Failed} work=${work} />`;
  return html`<${Progress} work=${work} />`;
}

function How({ work: { phase, how, saved, ignored } }) {
  const status = { sending: "Sending", running: "Being made", done: "Done", failed: "Failed", refused: "Refused" }[phase];
  const tone = { done: "good", failed: "bad", refused: "bad" }[phase] ?? "info";
  const amount = saved ? `, saved ${money(saved)}` : "";
  return html`<div class="row" role="status"><${Badge} tone=${tone}>${status}<//>
    ${how === "hit" && html`<${Badge} tone="good" icon="zap">answered from the cache${amount}<//>`}
    ${ignored && how !== "new" && html`<${Badge} tone="info">the settings allow no new one while there is an answer<//>`}
    ${how === "joined" && html`<${Badge} tone="good" icon="git-merge">joined an identical order${amount}<//>`}</div>`;
}

/** How long it has taken so far, or took. */
function Clock({ work }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    if (work.until || work.again) return undefined;
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, [work.until]);
  if (work.phase === "refused") return null;
  if (work.again) return html`<span class="hint"><${Time} at=${new Date(work.since).toISOString()} how="relative" /></span>`;
  return html`<span class="hint num"><${Icon} name="clock" /> ${duration(Math.max(0, ((work.until ?? now) - work.since) / 1000))}</span>`;
}

function Progress({ work }) {
  const percent = work.task?.progress ?? 0;
  const word = work.phase === "sending" ? "Asking the gateway" : percent >= 99 ? "Keeping the pictures" : percent > 0 ? `${percent} %` : "Waiting for its turn";
  const n = work.body.n ?? 1;
  return html`<div class="stack">
    <div class="progress-line"><span aria-live="polite" role="status">${word}</span>
      <progress max="100" value=${percent || undefined} aria-label="Progress of the order"></progress></div>
    <div class="pictures" data-count=${Math.min(n, 4)} aria-hidden="true">${Array.from({ length: n }, (_, i) => html`<div key=${i} class="picture-coming" style=${{ aspectRatio: ratioOf(work.body.size) }}></div>`)}</div>
  </div>`;
}

/** The room that a picture of this size will take: "3:2" and "1536x1024" are both 3 / 2. */
function ratioOf(size = "") {
  const [, width, height] = /^(\d+)[:x](\d+)$/.exec(size) ?? [];
  return width ? `${width} / ${height}` : "1";
}

function Pictures({ work }) {
  const [open, setOpen] = useState(null);
  const urls = work.task.results ?? [];
  const prompt = work.body.prompt ?? "";
  const name = (i) => fileName(prompt, urls[i], urls.length > 1 ? i + 1 : 0);
  return html`<div class="pictures" data-count=${Math.min(urls.length, 4)}>${urls.map((url, i) => html`<figure key=${url} class="picture">
      <button type="button" class="picture-open" onClick=${() => setOpen(i)} aria-label=${`Picture ${i + 1} of ${urls.length}, open it large`}>
        <img src=${pictureUrl(url)} alt=${prompt} /></button>
      <figcaption class="row"><${PictureActions} url=${url} name=${name(i)} /></figcaption>
    </figure>`)}</div>
    <div class="row result-more">
      ${work.how === "hit" && html`<${Button} icon="refresh-cw" onClick=${() => generate(work.body, { fresh: true })}>Make a new one<//>`}
      ${work.again && html`<${Button} icon="pencil" onClick=${() => use(work.body)}>Use this prompt<//>`}
      <span class="hint">Task <code>${work.task.id}</code></span>
    </div>
    ${open !== null && html`<${PictureDialog} title=${`Picture ${open + 1} of ${urls.length}`} url=${urls[open]} prompt=${prompt} name=${name(open)} onClose=${() => setOpen(null)} />`}`;
}

function Failed({ work }) {
  const error = work.task.error ?? {};
  return html`<div class="error-box" role="alert"><${Icon} name="circle-alert" /><div>
    <p class="error-title">No picture was made</p><p>${error.message ?? "The provider gave no reason."}</p>
    <p class="hint">${error.code && html`<code>${error.code}</code> · `}Task <code>${work.task.id}</code></p>
    <${Button} icon="refresh-cw" onClick=${() => generate(work.body)}>Try again<//></div></div>`;
}

/** What a status means, and what can be done about it. */
const REFUSALS = {
  400: ["The order is not right", "Change the order and send it again."],
  401: ["The key is not taken", ""],
  402: ["The budget is used up", "Choose a lower quality or fewer pictures, wait until it resets, or ask your platform team for more."],
  403: ["Not open to your team", "Choose another model, or ask your platform team."],
  409: ["Already ordered", ""],
  424: ["No picture came of it", "An identical order counts as spent, so nothing is ordered again by itself. Make a new one only if you accept to pay again."],
  429: ["Too much at once", "Wait a moment and send it again."],
  502: ["The provider is broken", "Nothing was paid. Try again later."],
  503: ["Not now", "Try again later."],
  504: ["The outcome is not known", "It may have been paid, so nothing is sent again by itself. Make a new one only if you accept to pay twice."],
};

function Refused({ work }) {
  const { error } = work;
  const { limit_scope: rule, resets_at: resets } = error.extra ?? {};
  const never = rule && !resets;
  const [title, advice] = never ? ["It does not fit", ""] : REFUSALS[error.status] ?? ["It was refused", ""];
  return html`<${ErrorBox} error=${error} title=${title}>
    ${(rule || error.param) && html`<p class="hint">${rule ? html`Rule <code>${rule}</code>` : html`Field <code>${error.param}</code>`}${resets && html` · resets <${Time} at=${resets} how="relative" /> (<${Time} at=${resets} />)`}</p>`}
    ${advice && html`<p>${advice}</p>`}
    <div class="row"><${Button} icon="refresh-cw" onClick=${() => generate(work.body)}>Send again<//>
      ${[424, 504].includes(error.status) && html`<${Button} onClick=${() => generate(work.body, { fresh: true })}>Make a new one<//>`}</div>
  <//>`;
}
