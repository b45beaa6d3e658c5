// The team's kept pictures, with the prompts they were made from.

import { html, useEffect, useState } from "../vendor/preact.js";
import { pictureUrl, useList } from "../api.js";
import { go } from "../router.js";
import { Button, Empty, Field, ListEnd, PageHead, Time, bytes, useSettled } from "../ui.js";
import { change } from "../team/order.js";
import { PictureDialog, fileName } from "../team/pictures.js";

const PAGE = 48;

export default function Gallery({ query }) {
  const { q = "", from = "", to = "" } = query;
  const list = useList("team", "team/v1/pictures", { q, from, to, limit: PAGE });
  const [open, setOpen] = useState(null);
  const rows = list.rows.filter((one) => !one.erased_at);
  const filtered = Boolean(q || from || to);
  const empty = html`<${Empty} icon="images" title=${filtered ? "No picture fits" : "No pictures yet"}>
    <p>${filtered ? "Try fewer words, or other days." : "What your team makes is kept here for good."}</p><//>`;
  return html`<${PageHead} title="Gallery">Every picture your team has made, and what it was made from. Links never expire.<//>
    <${Filters} query=${query} />
    <p class="unseen" role="status">${list.loading ? "Loading" : `${rows.length} pictures shown`}</p>
    <ul class="gallery" aria-busy=${list.loading ? "true" : undefined}>${rows.map((one) => html`<li key=${one.digest + one.task}>
      <button type="button" class="tile" onClick=${() => setOpen(one)}>
        <img src=${pictureUrl(one.url)} alt="" loading="lazy" width=${one.width} height=${one.height} />
        <span class="tile-text"><span class="tile-prompt">${one.prompt}</span>
          <span class="hint">${one.model} · <${Time} at=${one.created_at} how="relative" /></span></span>
      </button></li>`)}</ul>
    <${ListEnd} list=${{ ...list, rows }} empty=${empty} />
    ${open && html`<${Details} one=${open} onClose=${() => setOpen(null)} />`}`;
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

function Details({ one, onClose }) {
  const again = () => {
    change({ prompt: one.prompt, model: one.model });
    go("playground");
  };
  return html`<${PictureDialog} title="Picture" url=${one.url} prompt=${one.prompt} name=${fileName(one.prompt, one.url, 0)} onClose=${onClose}
    actions=${html`<${Button} kind="primary" icon="pencil" onClick=${again}>Use this prompt<//>`}>
    <p class="viewer-prompt">${one.prompt}</p>
    <dl class="facts">
      <dt>Model</dt><dd>${one.model}</dd>
      <dt>Size</dt><dd class="num">${one.width} × ${one.height} · ${bytes(one.size_bytes)}</dd>
      <dt>Made</dt><dd><${Time} at=${one.created_at} /></dd>
      <dt>Task</dt><dd><code>${one.task}</code></dd>
      <dt>Link</dt><dd><code>${one.url}</code></dd>
    </dl>
  <//>`;
}
