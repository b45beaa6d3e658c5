// The playground's form: what to make, from what, and what it would cost.

import { html, useEffect, useId, useRef, useState } from "../vendor/preact.js";
import { away } from "../api.js";
import { summaries } from "../session.js";
import { Button, Card, Field, Icon, Select, count, money } from "../ui.js";
import { FIELDS, FILE_TYPES, addFiles, body, change, choose, draft, model, models, mostFiles, references, removeFile, settings } from "./order.js";
import { differs, pricesOf, watchPrices } from "./prices.js";
import { Quote, useQuote } from "./quote.js";
import { FIELD_WORDS, valueWords } from "./words.js";
import { generate, shown } from "./work.js";

/** So many choices are all in sight, beside each other; more are a list to open. */
const IN_SIGHT = 5;

export function OrderForm() {
  const order = body.value;
  const quote = useQuote(order);
  const [missing, setMissing] = useState("");
  const prompt = useRef(null);
  const why = useId();
  useEffect(watchPrices, []);
  const submit = (event) => {
    event?.preventDefault();
    if (away.value) return;
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
      <${More} />
      <${Quote} quote=${quote} />
      <div class="row order-send">
        <${Button} kind="primary" type="submit" icon="sparkles" busy=${shown.value?.phase === "sending"} disabled=${away.value} aria-describedby=${away.value ? why : undefined}>Generate<//>
        ${away.value
          ? html`<span class="hint" id=${why}>Off until the gateway answers again.</span>`
          : html`<span class="hint keys-hint"><kbd>Ctrl</kbd> <kbd>Enter</kbd></span>`}
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
    ${(a) => html`<textarea ...${a} ref=${area} rows="5" dir="auto" placeholder="A red bicycle leaning on a white wall, morning light" value=${text}
      onInput=${(e) => (change({ prompt: e.target.value }), onWrite())}></textarea>`}
  <//>`;
}

function Choices() {
  const offer = model.value;
  if (!summaries.team.value) return null;
  if (!offer) return html`<p class="muted">There is no model that your team may use. Ask your platform team.</p>`;
  const wished = draft.value.model;
  const gone = wished && wished !== offer.id ? `Your team has no model ${wished} any more.` : undefined;
  return html`<div class="choices">
    <${Field} label="Model" hint=${gone}>${(a) => html`<${Select} ...${a} value=${offer.id} options=${models.value.map((one) => one.id)}
      onChange=${(e) => choose({ model: e.target.value })} />`}<//>
    ${Object.keys(FIELDS).map((name) => html`<${Choice} key=${name} name=${name} values=${offer[FIELDS[name]]} automatic=${offer.automatic.includes(name)} />`)}
    <${Field} label="Pictures" hint=${offer.max_n < 10 ? `At most ${offer.max_n}` : undefined}>${(a) => html`<input ...${a} type="number" min="1" max=${offer.max_n} value=${draft.value.n}
      onInput=${(e) => change({ n: within(e.target.value, offer.max_n) })} />`}<//>
  </div>`;
}

/** One of the model's values with what each costs, or free text where the provider judges. */
function Choice({ name, values, automatic }) {
  if (values === null) return name === "resolution" ? null : html`<${FreeChoice} name=${name} />`;
  const priced = pricesOf(name);
  const told = differs(priced);
  const options = [...(automatic ? [""] : []), ...values].map((value) => {
    const found = priced?.find((one) => (one.value ?? "") === value);
    return { value, words: valueWords(name, value), price: told && found ? priceWords(found) : "" };
  });
  const value = settings.value[name];
  const set = (chosen) => choose({ [name]: chosen });
  if (name !== "size" && options.length <= IN_SIGHT) return html`<${InSight} label=${FIELD_WORDS[name]} options=${options} value=${value} onChoose=${set} />`;
  return html`<${Field} label=${FIELD_WORDS[name]}>${(a) => html`<${Select} ...${a} value=${value}
    options=${options.map((one) => [one.value, one.price ? `${one.words} · ${one.price}` : one.words])} onChange=${(e) => set(e.target.value)} />`}<//>`;
}

/** What one picture costs; nothing said is priced at the dearest that it may mean. */
function priceWords({ value, usd }) {
  if (usd === null) return "no price";
  return value === null ? `up to ${money(usd)}` : money(usd);
}

function InSight({ label, options, value, onChoose }) {
  const name = useId();
  return html`<fieldset class="in-sight"><legend class="field-label">${label}</legend>
    <div class="in-sight-options">${options.map((one) => html`<label key=${one.value}>
      <input type="radio" name=${name} value=${one.value} checked=${one.value === value} onChange=${() => onChoose(one.value)} />
      <span><span>${one.words}</span> <span class="in-sight-price num">${one.price}</span></span></label>`)}</div>
  </fieldset>`;
}

function FreeChoice({ name }) {
  const set = (e) => choose({ [name]: e.target.value.trim() });
  return html`<${Field} label=${FIELD_WORDS[name]}>${(a) => html`<input ...${a} value=${settings.value[name]} placeholder="Automatic" onInput=${set} />`}<//>`;
}

/** What an order that is used again said besides. */
function More() {
  const names = Object.keys(draft.value.more);
  if (!names.length) return null;
  return html`<div class="row more"><p class="hint">Also sent: ${names.map((name, i) => html`${i ? ", " : ""}<code>${name}</code>`)}</p>
    <${Button} kind="quiet" icon="x" onClick=${() => change({ more: {} })}>Leave out<//></div>`;
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
