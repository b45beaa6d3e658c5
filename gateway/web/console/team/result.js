// What became of an order: its progress, its pictures and what they cost, or why there are none.

import { html, useEffect, useState } from "../vendor/preact.js";
import { away, isAway, pictureUrl } from "../api.js";
import { summaries } from "../session.js";
import { Badge, Button, Card, CopyButton, Empty, ErrorBox, Icon, Time, duration, money, withTimes } from "../ui.js";
import { LinkHint, PictureActions, PictureDialog, ReferenceButton, altOf, fileName } from "./pictures.js";
import { change, use } from "./order.js";
import { leftWords } from "./quote.js";
import { generate, shown, tightest } from "./work.js";

export function Result() {
  const work = shown.value;
  if (!work) return html`<${Card} class="card result"><${Empty} icon="image" title="Your picture appears here">
    <p>Write a prompt and press Generate. What was made before costs nothing.</p><//><//>`;
  return html`<${Card} class="card result" key=${work.key}>
    <header class="result-head"><${How} work=${work} /><${Clock} work=${work} /></header>
    <p class="result-prompt" dir="auto">${work.body?.prompt ?? html`<span class="muted">What was asked for was erased.</span>`}</p>
    <${Outcome} work=${work} />
    <${Paid} work=${work} />
  <//>`;
}

function Outcome({ work }) {
  if (work.phase === "done") return html`<${Pictures} work=${work} />`;
  if (work.phase === "refused") return isAway(work.error) ? html`<${Unanswered} work=${work} />` : html`<${Refused} work=${work} />`;
  if (work.phase === "failed") return html`<${Failed} work=${work} />`;
  return html`<${Progress} work=${work} />`;
}

function How({ work: { phase, how, order, error, ignored } }) {
  const [refusal, refused] = refusedAs(error);
  const words = { sending: "Sending", running: "Being made", done: "Done", failed: "Failed", refused: refusal };
  const tone = { done: "good", failed: "bad", refused }[phase] ?? "info";
  const amount = order?.saved_usd ? `: saved ${money(order.saved_usd)}` : "";
  return html`<div class="row" role="status"><${Badge} tone=${tone}>${words[phase]}<//>
    ${how === "hit" && html`<${Badge} tone="good" icon="zap">from the cache${amount}<//>`}
    ${ignored && how !== "started" && html`<${Badge} tone="info">the settings allow no new one while there is an answer<//>`}
    ${how === "joined" && html`<${Badge} tone="good" icon="git-merge">was being made already${amount}<//>`}</div>`;
}

/** An answer without a picture in a word, and its tone: what may have been paid was not refused. */
function refusedAs(error) {
  if (isAway(error)) return ["No answer", "warn"];
  return { 424: ["No picture", "bad"], 504: ["Not known", "warn"] }[error?.status] ?? ["Refused", "bad"];
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

/** What it cost, and what that leaves. */
function Paid({ work: { phase, how, order, again, counted } }) {
  if (!order || !["done", "failed"].includes(phase)) return null;
  const limit = !again && counted ? tightest(summaries.team.value?.standing ?? []) : null;
  const paid = order.price_usd > 0 ? `${money(order.price_usd)} spent` : how === "started" ? "Nothing spent" : "Nothing spent for this one";
  return html`<p class="paid num" role="status"><${Icon} name="wallet" /><span>${paid}${limit && ` · ${leftWords(limit)}`}</span></p>`;
}

function Progress({ work }) {
  const percent = work.progress ?? 0;
  const word = away.value
    ? "No answer from the gateway. It goes on all the same, and is asked again by itself"
    : work.phase === "sending" ? "Asking the gateway" : percent >= 99 ? "Saving the pictures" : percent > 0 ? `${percent} %` : "Waiting for its turn";
  const n = work.body?.n ?? 1;
  return html`<div class="stack">
    <div class="progress-line"><span aria-live="polite" role="status">${word}</span>
      <progress max="100" value=${percent || undefined} aria-label="Progress of the pictures"></progress></div>
    <div class="pictures" data-columns=${columnsFor(n)} aria-hidden="true">${Array.from({ length: n }, (_, i) => html`<div key=${i} class="picture-coming" style=${{ aspectRatio: ratioOf(work.body?.size) }}></div>`)}</div>
  </div>`;
}

/** So many pictures stand beside each other; on a phone at most two. */
const columnsFor = (n) => (n <= 2 ? n : n <= 4 ? 2 : n <= 6 ? 3 : 4);

/** The room that a picture of this size will take: "3:2" and "1536x1024" are both 3 / 2. */
function ratioOf(size) {
  const [, width, height] = /^(\d+)[:x](\d+)$/.exec(size ?? "") ?? [];
  return width ? `${width} / ${height}` : "1";
}

function Pictures({ work }) {
  const [open, setOpen] = useState(null);
  const urls = (work.order?.pictures ?? []).map((one) => one.url);
  const prompt = work.body?.prompt ?? "";
  const name = (i) => fileName(prompt, urls[i]);
  const several = urls.length > 1;
  return html`<div class="pictures" data-columns=${columnsFor(urls.length)}>${urls.map((url, i) => html`<figure key=${url} class="picture">
      <button type="button" class="picture-open" onClick=${() => setOpen(i)} aria-label=${`Picture ${i + 1} of ${urls.length}, open it large`}>
        <img src=${pictureUrl(url)} alt=${altOf(prompt)} /></button>
      <figcaption class="row"><${PictureActions} url=${url} name=${name(i)} compact=${several} /></figcaption>
    </figure>`)}</div>
    <div class="row result-more">
      ${work.how === "hit" && !work.again && html`<${Button} icon="refresh-cw" onClick=${() => generate(work.body, { fresh: true })}>Make a new one<//>`}
      ${work.again && html`<${UseAgain} body=${work.body} />`}
      ${several && html`<${CopyButton} icon="link" text=${urls.join("\n")} label="Copy all links" />`}
      ${urls.length === 1 && html`<${ReferenceButton} url=${urls[0]} name=${name(0)} />`}
    </div>
    <${LinkHint} />
    ${open !== null && html`<${PictureDialog} title=${`Picture ${open + 1} of ${urls.length}`} url=${urls[open]} prompt=${prompt} name=${name(open)} onClose=${() => setOpen(null)}
      onStep=${several && ((by) => setOpen(open + by))} steps=${{ before: open > 0, after: open < urls.length - 1 }}
      actions=${html`<${ReferenceButton} url=${urls[open]} name=${name(open)} onUsed=${() => setOpen(null)} />`} />`}`;
}

/** The prompt alone, or with all that was said beside it. Nothing where it was erased. */
export function UseAgain({ body, onUsed, kind }) {
  if (!body) return null;
  const act = (put) => () => (put(), onUsed?.(), document.querySelector(".order textarea")?.focus());
  return html`<${Button} kind=${kind} icon="pencil" onClick=${act(() => change({ prompt: body.prompt }))}>Use this prompt<//>
    <${Button} icon="settings" onClick=${act(() => use(body))}>Same settings<//>`;
}

function Failed({ work }) {
  const { code, message } = work.order?.failure ?? {};
  return html`<div class="error-box" role="alert"><${Icon} name="circle-alert" /><div>
    <p class="error-title">No picture was made</p><p>${withTimes(message ?? "The provider gave no reason.")}</p>
    <p class="hint">${code && html`<code>${code}</code> · `}Id <code>${work.id}</code></p>
    ${work.body && html`<div class="row"><${Button} icon="refresh-cw" disabled=${away.value} onClick=${() => generate(work.body)}>Try again<//>
      ${work.again && html`<${UseAgain} body=${work.body} />`}</div>`}</div></div>`;
}

/** Nobody knows whether it arrived; if it did, the same request is not paid a second time. */
function Unanswered({ work }) {
  return html`<div class="error-box" data-tone="warn" role="alert"><${Icon} name="wifi-off" /><div>
    <p class="error-title">No answer from the gateway</p>
    <p>Whether it arrived is not known. ${work.fresh
      ? "If it did, it is paid: look at the history before you send it again."
      : "If it did, sending it again gets you the same pictures, and is not paid twice."}</p>
    <${Button} icon="refresh-cw" disabled=${away.value} onClick=${() => generate(work.body, { fresh: work.fresh })}>Send again<//></div></div>`;
}

/** What a status means, and what can be done about it. */
const REFUSALS = {
  400: ["Something in it is not right", "Change it and send it again."],
  401: ["The key is not taken", ""],
  402: ["The budget is used up", "Choose a lower quality or fewer pictures, wait until it resets, or ask your platform team for more."],
  403: ["Not open to your team", "Choose another model, or ask your platform team."],
  409: ["Already sent", ""],
  424: ["No picture came of it", "The same request counts as spent, so nothing is made again by itself. Make a new one only if you accept to pay again."],
  429: ["Too much at once", "Wait a moment and send it again."],
  502: ["The provider is broken", "Nothing was paid. Try again later."],
  503: ["Not now", "Try again later."],
  504: ["The outcome is not known", "It may have been paid, so nothing is sent again by itself. Make a new one only if you accept to pay twice."],
};

/** What the gateway says to programs alone, in words for people. */
const IN_WORDS = { outcome_unknown: "It was sent to the provider, and no answer came back." };

function Refused({ work }) {
  const { error } = work;
  const told = { message: IN_WORDS[error.code] ?? error.message, requestId: error.requestId };
  const { limit_scope: rule, resets_at: resets } = error.extra ?? {};
  const never = rule && !resets;
  const [title, advice] = never ? ["It does not fit", ""] : REFUSALS[error.status] ?? ["It was refused", ""];
  return html`<${ErrorBox} error=${told} title=${title}>
    ${(rule || error.param) && html`<p class="hint">${rule ? html`Rule <code>${rule}</code>` : html`Field <code>${error.param}</code>`}${resets && html` · resets <${Time} at=${resets} how="relative" /> (<${Time} at=${resets} />)`}</p>`}
    ${advice && html`<p>${advice}</p>`}
    ${work.body && html`<div class="row"><${Button} icon="refresh-cw" onClick=${() => generate(work.body)}>Send again<//>
      ${[424, 504].includes(error.status) && html`<${Button} onClick=${() => generate(work.body, { fresh: true })}>Make a new one<//>`}</div>`}
  <//>`;
}
