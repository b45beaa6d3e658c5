// The playground: an order, what it would cost, and what became of it.

import { html, useState } from "../vendor/preact.js";
import { Card, Code, PageHead, Segments } from "../ui.js";
import { summaries } from "../session.js";
import { OrderForm } from "../team/form.js";
import { History } from "../team/history.js";
import { body, model, settings } from "../team/order.js";
import { Result } from "../team/result.js";
import { snippets } from "../team/snippets.js";

export default function Playground() {
  return html`<${PageHead} title="Playground">Try a prompt. What was made before comes from the cache and costs nothing.<//>
    <div class="playground">
      <${OrderForm} />
      <${Result} />
    </div>
    <${History} />
    <${Snippets} />`;
}

/** While nothing is written. */
function example() {
  const said = Object.entries(settings.value).filter(([, value]) => value !== "");
  return { model: model.value?.id ?? "gpt-image-1.5", prompt: "A red bicycle", ...Object.fromEntries(said) };
}

function Snippets() {
  const [chosen, setChosen] = useState("curl");
  const order = body.value ?? example();
  const listed = snippets(order, summaries.team.value?.public_url ?? location.origin);
  const [, text] = listed.find(([name]) => name === chosen);
  return html`<${Card} title="The same request as" actions=${html`<${Segments} label="Language" value=${chosen} onChoose=${setChosen} options=${listed.map(([name]) => name)} />`}>
    <${Code} text=${text} label=${`The request for ${chosen}`} />
    <p class="hint">Put your team's key into the environment as <code>GATEWAY_KEY</code>; it is not part of what is copied.</p>
  <//>`;
}
