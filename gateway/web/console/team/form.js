// The playground's form: what to make, from what, and what it would cost.

import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { Button, Card, Field, Icon, Select, Time, count, money, standingName, useSettled } from "../ui.js";
import { FILE_TYPES, addFiles, body, change, draft, estimate, model, models, mostFiles, references, removeFile } from "./order.js";
import { generate, shown } from "./work.js";

export function OrderForm() {
  const order = body.value;
  const quote = useQuote(order);
  const [missing, setMissing] = useState("");
  const prompt = useRef(null);
  const submit = (event) => {
    event?.preventDefault();
    if (references.value.some((one) => one.state === "sending")) return setMissing("A reference picture is still being sent.");
    if (!order) return setMissing("Write what the picture should show."), prompt.current?.focus();
    setMissing("");
    generate(order);
    document.querySelector(".result")?.scrollIntoView({ block: "nearest" });
  };
  const keys = (event) => (event.ctrlKey || event.metaKey) && event.key === "Enter" && submit(event);
  return html`<form onSubmit=${submit} onKeyDown=${keys} novalidate class="order">
    <${Card}>
      <${Prompt} area=${prompt} error=${missing} onWrite=${() => setMissing("")} />
      <${References} />
      <${Choices} />
      <${Quote} quote=${quote} />
      <div class="row order-send">
        <${Button} kind="primary" type="submit" icon="sparkles" busy=${shown.value?.phase === "sending"}>Generate<//>
        <span class="hint keys-hint"><kbd>Ctrl</kbd> <kbd>Enter</kbd></span>
      </div>
    <//>
  </form>`;
}

function Prompt({ area, error, onWrite }) {
  const text = draft.value.prompt;
  const length = [...text].length;
  const limit = model.value?.prompt_tokens;
  const counted = html`<span class="hint num">${count(length)} ${length === 1 ? "character" : "characters"}${limit ? ` · at most ${count(limit)} tokens` : ""}</span>`;
  return html`<${Field} label="Prompt" aside=${counted} error=${error}>
    ${(a) => html`<textarea ...${a} ref=${area} rows="5" placeholder="A red bicycle leaning on a white wall, morning light" value=${text}
      onInput=${(e) => (change({ prompt: e.target.value }), onWrite())}></textarea>`}
  <//>`;
}

function Choices() {
  const offer = model.value;
  if (!offer) return null;
  const { size, quality, n } = draft.value;
  return html`<div class="choices">
    <${Field} label="Model">${(a) => html`<${Select} ...${a} value=${offer.id} options=${models.value.map((one) => one.id)}
      onChange=${(e) => change({ model: e.target.value })} />`}<//>
    <${Choice} label="Size" name="size" values=${offer.sizes} value=${size} />
    <${Choice} label="Quality" name="quality" values=${offer.qualities} value=${quality} />
    <${Field} label="Pictures">${(a) => html`<input ...${a} type="number" min="1" max=${offer.max_n} value=${n}
      onInput=${(e) => change({ n: within(e.target.value, offer.max_n) })} />`}<//>
  </div>`;
}

/** One of the model's values, or free text where upstream judges. */
function Choice({ label, name, values, value }) {
  const set = (e) => change({ [name]: e.target.value.trim() });
  return html`<${Field} label=${label}>${(a) => values === null
    ? html`<input ...${a} value=${value} placeholder="default" onInput=${set} />`
    : html`<${Select} ...${a} value=${values.includes(value) ? value : ""} options=${[["", "Default"], ...values]} onChange=${set} />`}<//>`;
}

const within = (text, most) => Math.min(Math.max(Math.trunc(Number(text)) || 1, 1), most);

// --- reference pictures ------------------------------------------------------------------------

function References() {
  const [complaint, setComplaint] = useState("");
  const [over, setOver] = useState(false);
  const take = (files) => files.length && setComplaint(addFiles([...files]));
  usePaste(take);
  const most = mostFiles();
  if (most < 1) return null;
  const drop = (event) => (event.preventDefault(), setOver(false), take(event.dataTransfer.files));
  return html`<div class="references" data-over=${over ? "" : undefined} onDragOver=${(e) => (e.preventDefault(), setOver(true))}
    onDragLeave=${() => setOver(false)} onDrop=${drop}>
    ${references.value.length > 0 && html`<ul class="thumbs" aria-label="Reference pictures">
      ${references.value.map((one) => html`<${Reference} key=${one.id} one=${one} />`)}</ul>`}
    ${references.value.length < most && html`<label class="drop">
      <input type="file" multiple accept=${FILE_TYPES.join()} onChange=${(e) => (take(e.target.files), (e.target.value = ""))} />
      <${Icon} name="upload" /><span><strong>Add reference pictures</strong>
      <span class="hint">Drop, paste or choose · JPEG, PNG, WebP · 10 MB each, at most ${most}</span></span></label>`}
    <p class="field-error" role="alert">${complaint && html`<${Icon} name="circle-alert" />${complaint}`}</p>
  </div>`;
}

function Reference({ one }) {
  const state = { sending: "being sent", there: "sent", failed: one.error }[one.state];
  return html`<li class="thumb" data-state=${one.state}>
    ${one.preview ? html`<img src=${one.preview} alt="" />` : html`<${Icon} name="image" />`}
    <span class="unseen" role="status">${one.name}: ${state}</span>
    ${one.state === "failed" && html`<span class="thumb-error" title=${one.error}><${Icon} name="circle-alert" /></span>`}
    <button type="button" class="thumb-remove" aria-label=${`Remove ${one.name}`} onClick=${() => removeFile(one.id)}><${Icon} name="x" /></button>
  </li>`;
}

/** Pictures in the clipboard are taken wherever on the page they are pasted. */
function usePaste(take) {
  useEffect(() => {
    const paste = (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (!files.length) return;
      event.preventDefault();
      take(files);
    };
    document.addEventListener("paste", paste);
    return () => document.removeEventListener("paste", paste);
  }, []);
}

// --- what it would cost ------------------------------------------------------------------------

/**
 * The estimate of the order, once it has been still for a moment: {answer} or {error}; null without an order, and
 * {} while it is not known. One of a former order is never shown: it could promise a price that does not hold.
 */
function useQuote(order) {
  const asked = order ? JSON.stringify(order) : "";
  const settled = useSettled(asked, 350);
  const ended = shown.value?.until;
  const [quote, setQuote] = useState(null);
  useEffect(() => {
    if (!settled) return setQuote(null);
    const abort = new AbortController();
    estimate(JSON.parse(settled), { signal: abort.signal }).then(
      (answer) => setQuote({ of: settled, answer }),
      (error) => abort.signal.aborted || setQuote({ of: settled, error }),
    );
    return () => abort.abort();
  }, [settled, ended]);
  if (!asked) return null;
  return quote?.of === asked ? quote : {};
}

function Quote({ quote }) {
  return html`<div class="quote" role="status" aria-live="polite">
    ${!quote && html`<p class="muted">The price is shown here before anything is sent.</p>`}
    ${quote && !quote.answer && !quote.error && html`<p class="muted" aria-hidden="true">Asking for the price…</p>`}
    ${quote?.error && html`<${Refusal} text=${quote.error.message} />`}
    ${quote?.answer && html`<${Answer} answer=${quote.answer} />`}
  </div>`;
}

function Answer({ answer }) {
  const { verdict, denial } = answer;
  if (verdict === "deny") return html`<${Refusal} text=${denial.message} rule=${denial.rule} resets=${denial.resets_at} />`;
  return html`<p class="quote-line" data-verdict=${verdict}><${Icon} name=${{ hit: "zap", join: "git-merge", unknown: "triangle-alert" }[verdict] ?? "play"} />
      <span>${words(answer)}</span></p>
    ${denial && html`<p class="hint">Beyond a limit, but your team is only watched: ${denial.message}</p>`}
    <${Left} budgets=${answer.budgets} />`;
}

function words({ verdict, price_usd: price }) {
  const most = price === null ? "at an unknown price" : html`at most <strong class="num">${money(price)}</strong>`;
  return {
    hit: html`<strong>Answered from the cache</strong>, for nothing`,
    join: html`<strong>Joins an identical order</strong> that is being made, for nothing`,
    start: html`<strong>Starts a new one</strong>, ${most}`,
    unknown: html`<strong>An identical order's outcome is not known yet.</strong> Sending it again could pay twice`,
  }[verdict];
}

/** The tightest money, in one line. */
function Left({ budgets }) {
  const money_ = budgets.filter((one) => one.unit === "usd").sort((a, b) => a.left - b.left)[0];
  if (!money_) return null;
  return html`<p class="hint num">${money(money_.left)} left of ${money(money_.limit)} ${standingName({ measure: "", window: money_.window })}</p>`;
}

function Refusal({ text, rule, resets }) {
  return html`<p class="quote-line" data-verdict="deny"><${Icon} name="ban" /><span><strong>Would be refused.</strong> ${text}</span></p>
    ${(rule || resets) && html`<p class="hint">${rule && html`Rule <code>${rule}</code>`}${rule && resets && " · "}${resets && html`free again <${Time} at=${resets} how="relative" />`}</p>`}`;
}
