// What the team asked for last: as small pictures that can be shown again, or as what became of them.

import { html, useEffect, useState } from "../vendor/preact.js";
import { pictureUrl } from "../api.js";
import { Button, Card, Empty, ErrorBox, Icon, relative } from "../ui.js";
import { completed, hasMore, history, historyError, refresh, running, showAgain, showMore, shown, watchHistory } from "./work.js";

const WORDS = { pending: "waiting", processing: "being made", completed: "done", failed: "failed" };

export function History() {
  useEffect(watchHistory, []);
  const counted = html`<p class="hint num" role="status">${running.value} being made · ${completed.value} done</p>`;
  return html`<${Card} title="History" actions=${counted}>
    <${ErrorBox} error=${historyError.value} retry=${refresh} />
    ${history.value.length > 0
      ? html`<ul class="history">${history.value.map((one) => html`<${Entry} key=${one.id} one=${one} />`)}</ul>`
      : !historyError.value && html`<${Empty} icon="history" title="Nothing made yet" />`}
    ${hasMore.value && html`<div class="list-end"><${Button} icon="chevron-down" onClick=${showMore}>Show more<//></div>`}
  <//>`;
}

function Entry({ one }) {
  const [broken, setBroken] = useState(false);
  const picture = !broken && one.pictures[0] && pictureUrl(one.pictures[0].url);
  const open = () => (showAgain(one), document.querySelector(".result")?.scrollIntoView({ block: "nearest" }));
  return html`<li><button type="button" class="history-entry" data-status=${one.state} aria-current=${shown.value?.id === one.id ? "true" : undefined} onClick=${open}>
    <span class="history-picture">${picture
      ? html`<img src=${picture} alt="" loading="lazy" onError=${() => setBroken(true)} />`
      : html`<${Icon} name=${{ failed: "ban", completed: "image" }[one.state] ?? "loader-circle"} />`}
      ${one.pictures.length > 1 && html`<span class="history-count num">${one.pictures.length}</span>`}</span>
    <span class="history-text"><span class="history-prompt" dir="auto">${one.prompt || html`<span class="muted">Erased</span>`}</span>
      <span class="hint">${WORDS[one.state] ?? one.state} · ${relative(one.created_at)}</span></span>
  </button></li>`;
}
