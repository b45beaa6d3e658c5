// Every kept picture: by team, prompt, task, run and time; and erasing one for good.

import { html, useState } from "../vendor/preact.js";
import { pictureUrl, send, useList } from "../api.js";
import { link } from "../router.js";
import { Button, Confirm, Empty, Icon, ListEnd, Time, bytes, toast } from "../ui.js";
import { Clear, Days, Filters, TeamChoice, TextFilter, setter } from "./filters.js";

export default function Pictures({ query }) {
  const set = setter("runs", [], query);
  const { team, q, task, run, from, to } = query;
  const list = useList("admin", "admin/v1/pictures", { team, q, task, run, from, to, limit: 48 });
  const [erasing, setErasing] = useState(null);
  const [erased, setErased] = useState({});
  // An erasure is of the bytes: of every run that made them.
  const rows = list.rows.map((row) => row.erased_at ? row : { ...row, ...erased[row.digest] });
  return html`<${Filters}>
      <${TeamChoice} value=${team} onChoose=${(one) => set({ team: one })} />
      <${TextFilter} wide label="Prompt" placeholder="Words in the prompt" value=${q} onChoose=${(one) => set({ q: one })} />
      <${TextFilter} label="Task" placeholder="Task id" value=${task} onChoose=${(one) => set({ task: one })} />
      <${Days} from=${from} to=${to} set=${set} />
      <${Clear} page="runs" query=${query} keep=${["view"]} />
    <//>
    ${rows.length > 0 && html`<ul class="kept" aria-label="Pictures">${rows.map((row) => html`<${Kept} key=${row.digest + row.run} row=${row} onErase=${() => setErasing(row)} />`)}</ul>`}
    <${ListEnd} list=${list} empty=${html`<${Empty} icon="images" title="No picture is like that." />`} />
    ${erasing && html`<${Erase} row=${erasing} onClose=${() => setErasing(null)} onErased=${(row) => setErased({ ...erased, [row.digest]: { prompt: row.prompt, erased_at: row.erased_at } })} />`}`;
}

function Kept({ row, onErase }) {
  const words = row.prompt || "no prompt";
  return html`<li class="kept-one">
    ${row.erased_at
      ? html`<div class="shot gone"><${Icon} name="eraser" />Erased <${Time} at=${row.erased_at} how="day" /></div>`
      : html`<a href=${pictureUrl(row.url)} target="_blank" rel="noopener"><img class="shot" src=${pictureUrl(row.url)} loading="lazy" width=${row.width} height=${row.height} alt=${words.slice(0, 120)} /></a>`}
    <p class="prompt">${row.erased_at ? html`<span class="muted">The prompt is gone, too.</span>` : row.prompt}</p>
    <p class="hint">${row.team} · <${Time} at=${row.created_at} /></p>
    <p class="hint">${row.width} × ${row.height} · ${bytes(row.size_bytes)}</p>
    <div class="row"><a href=${link("runs", [row.run])}>How it was made</a>
      ${!row.erased_at && html`<${Button} kind="quiet" icon="eraser" aria-label=${`Erase: ${words.slice(0, 80)}`} onClick=${onErase}>Erase<//>`}</div>
  </li>`;
}

function Erase({ row, onErased, onClose }) {
  const act = async () => {
    onErased(await send("admin", "DELETE", `admin/v1/pictures/${encodeURIComponent(row.digest)}`));
    toast("The picture is erased");
  };
  return html`<${Confirm} title="Erase this picture?" action="Erase for good" act=${act} onClose=${onClose}>
    <p>Its bytes, what is written beside it, its prompt and the cached answer are removed, of every run that made the same bytes. Its link answers 404 from then on. What it has cost stays counted.</p>
    <p class="hint mono id">${row.digest}</p>
  <//>`;
}
