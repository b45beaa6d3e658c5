// The team's kept pictures, with the prompts they were made from. "#/gallery/<digest>" shows one large.

import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { pictureUrl, useData, useList } from "../api.js";
import { go } from "../router.js";
import { Button, Dialog, Empty, ErrorBox, Field, ListEnd, Loading, PageHead, Time, bytes, useSettled } from "../ui.js";
import { PictureDialog, ReferenceButton, fileName } from "../team/pictures.js";
import { UseAgain } from "../team/result.js";
import { FIELD_WORDS, valueWords } from "../team/words.js";
import { bodyOf } from "../team/work.js";

const PAGE = 48;
const NEAR_END = 3;

export default function Gallery({ rest, query }) {
  const { q = "", from = "", to = "" } = query;
  const list = useList("team", "team/v1/pictures", { q, from, to, limit: PAGE });
  const rows = list.rows.filter((one) => !one.erased_at);
  const filtered = Boolean(q || from || to);
  const pushed = useRef(false);
  const open = (digest) => ((pushed.current = true), go("gallery", [digest], query));
  const step = (digest) => go("gallery", [digest], query, { replace: true });
  // Back does what closing does: it leads to the list, wherever that was opened from.
  const close = () => {
    const was = pushed.current;
    pushed.current = false;
    if (was) history.back();
    else go("gallery", [], query, { replace: true });
  };
  const empty = html`<${Empty} icon="images" title=${filtered ? "No picture fits" : "No pictures yet"}>
    <p>${filtered ? "Try fewer words, or other days." : "What your team makes stays here for good."}</p><//>`;
  return html`<${PageHead} title="Gallery">Every picture your team has made, and what it was made from. Links never expire.<//>
    <${Filters} query=${query} />
    <p class="unseen" role="status">${list.loading ? "Loading" : `${rows.length} pictures shown`}</p>
    <ul class="gallery" aria-busy=${list.loading ? "true" : undefined}>${rows.map((one) => html`<li key=${one.digest + one.task}>
      <button type="button" class="tile" onClick=${() => open(one.digest)}>
        <img src=${pictureUrl(one.url)} alt="" loading="lazy" width=${one.width} height=${one.height} />
        <span class="tile-text"><span class="tile-prompt" dir="auto">${one.prompt}</span>
          <span class="hint">${one.model} · <${Time} at=${one.created_at} how="relative" /></span></span>
      </button></li>`)}</ul>
    <${ListEnd} list=${{ ...list, rows }} empty=${empty} />
    ${rest[0] && html`<${Shown} digest=${rest[0]} list=${list} rows=${rows} onStep=${step} onClose=${close} />`}`;
}

/** What is searched for is part of the address, so that it can be kept and sent on. */
function Filters({ query }) {
  const [words, setWords] = useState(query.q ?? "");
  const settled = useSettled(words, 300);
  const set = (part) => go("gallery", [], { ...query, q: settled, ...part }, { replace: true });
  useEffect(() => {
    if (settled !== (query.q ?? "")) set({});
  }, [settled]);
  const day = (name, label) => html`<${Field} label=${label}>${(a) => html`<input ...${a} type="date" value=${query[name] ?? ""} onChange=${(e) => set({ [name]: e.target.value })} />`}<//>`;
  const clear = () => (setWords(""), go("gallery", [], {}, { replace: true }));
  return html`<form class="toolbar" role="search" onSubmit=${(e) => e.preventDefault()}>
    <${Field} label="Search in prompts" wide>${(a) => html`<input ...${a} type="search" value=${words} placeholder="bicycle" onInput=${(e) => setWords(e.target.value)} />`}<//>
    ${day("from", "From")}${day("to", "To")}
    ${(query.q || query.from || query.to) && html`<${Button} kind="quiet" icon="x" onClick=${clear}>Clear<//>`}
  </form>`;
}

/** The picture of the address: one of the list, or one that is asked for because the list does not reach so far. */
function Shown({ digest, list, rows, onStep, onClose }) {
  const at = rows.findIndex((one) => one.digest === digest);
  const waits = list.loading && !list.rows.length;
  const asked = useData("team", at < 0 && !waits ? "team/v1/pictures" : null, { digest });
  useEffect(() => {
    if (at >= 0 && at >= rows.length - NEAR_END && !list.loading) list.more?.();
  }, [at, rows.length]);
  const one = rows[at] ?? asked.data?.data.find((found) => found.digest === digest);
  if (!one) return html`<${Missing} waits=${waits || asked.loading || !asked.data} error=${asked.error} retry=${asked.reload} onClose=${onClose} />`;
  const next = (by) => rows.slice(...(by < 0 ? [0, at] : [at + 1])).filter((other) => other.digest !== digest).at(by < 0 ? -1 : 0);
  const steps = { before: at > 0 && next(-1), after: at >= 0 && next(1) };
  return html`<${Details} one=${one} steps=${steps} onStep=${(by) => onStep(next(by).digest)} onClose=${onClose} />`;
}

function Missing({ waits, error, retry, onClose }) {
  return html`<${Dialog} title="Picture" onClose=${onClose}>
    ${error ? html`<${ErrorBox} error=${error} retry=${retry} />` : waits ? html`<${Loading} />`
      : html`<${Empty} icon="image" title="Not among your team's pictures"><p>It was erased, or belongs to another team.</p><//>`}
  <//>`;
}

function Details({ one, steps, onStep, onClose }) {
  const order = useData("team", "team/v1/orders", { task: one.task }).data?.data[0];
  const of = order?.id === one.task ? order : null;
  const body = (of && bodyOf(of)) ?? { model: one.model, prompt: one.prompt };
  const name = fileName(one.prompt, one.url);
  const said = Object.entries(of?.settings ?? {}).filter(([field, value]) => field in FIELD_WORDS && field !== "n" && typeof value === "string");
  return html`<${PictureDialog} title="Picture" url=${one.url} prompt=${one.prompt} name=${name} onClose=${onClose} onStep=${onStep} steps=${steps}
    actions=${html`<${UseAgain} kind="primary" body=${body} onUsed=${() => go("playground")} /><${ReferenceButton} url=${one.url} name=${name} />`}>
    <p class="viewer-prompt" dir="auto">${one.prompt}</p>
    <dl class="facts">
      <dt>Model</dt><dd>${one.model}</dd>
      ${said.map(([field, value]) => html`<dt>${FIELD_WORDS[field]}</dt><dd>${valueWords(field, value)}</dd>`)}
      <dt>Pixels</dt><dd class="num">${one.width} × ${one.height} · ${bytes(one.size_bytes)}</dd>
      <dt>Made</dt><dd><${Time} at=${one.created_at} /></dd>
      <dt>Id</dt><dd><code>${one.task}</code></dd>
      <dt>Link</dt><dd><code>${one.url}</code></dd>
    </dl>
  <//>`;
}
