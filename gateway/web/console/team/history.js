// The team's last twenty tasks, as small pictures that can be shown again.

import { html, useEffect } from "../vendor/preact.js";
import { pictureUrl } from "../api.js";
import { Card, Empty, ErrorBox, Icon, relative } from "../ui.js";
import { completed, history, historyError, refresh, running, showAgain, shown, watchHistory } from "./work.js";

const WORDS = { pending: "waiting", processing: "being made", completed: "completed", failed: "failed" };

export function History() {
  useEffect(watchHistory, []);
  const counted = html`<p class="hint num" role="status">${running.value} running · ${completed.value} completed</p>`;
  return html`<${Card} title="Last orders" actions=${counted}>
    <${ErrorBox} error=${historyError.value} retry=${refresh} />
    ${history.value.length > 0
      ? html`<ul class="history">${history.value.map((one) => html`<${Entry} key=${one.id} one=${one} />`)}</ul>`
      : !historyError.value && html`<${Empty} icon="history" title="Nothing ordered yet" />`}
  <//>`;
}

function Entry({ one }) {
  const picture = one.results?.[0] && pictureUrl(one.results[0]);
  const when = relative(new Date(one.created * 1000).toISOString());
  const open = () => (showAgain(one), document.querySelector(".result")?.scrollIntoView({ block: "nearest" }));
  return html`<li><button type="button" class="history-entry" data-status=${one.status} aria-current=${shown.value?.task?.id === one.id ? "true" : undefined} onClick=${open}>
    <span class="history-picture">${picture ? html`<img src=${picture} alt="" loading="lazy" />` : html`<${Icon} name=${one.status === "failed" ? "ban" : "loader-circle"} />`}
      ${one.results?.length > 1 && html`<span class="history-count num">${one.results.length}</span>`}</span>
    <span class="history-text"><span class="history-prompt">${one.prompt || one.model}</span>
      <span class="hint">${WORDS[one.status] ?? one.status} · ${when}</span></span>
  </button></li>`;
}
