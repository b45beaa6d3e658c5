// The API for people, drawn from openapi.json. It sends nothing but that one request.

import { html, render, useEffect, useMemo, useState } from "./vendor/preact.js";
import { Badge, Button, Code, Empty, ErrorBox, Loading } from "./ui.js";
import { shownTheme, switchTheme } from "./theme.js";

const DOORS = { teamKey: "team key", adminKey: "admin key", metricsKey: "metrics key" };
const MOST_LEVELS = 6;

// --- the document ------------------------------------------------------------------------------

/** Every operation, with what its page needs. */
function operationsOf(doc) {
  return Object.entries(doc.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, one]) => ({
      ...one, method: method.toUpperCase(), path, id: one.operationId, tag: one.tags[0],
      door: Object.keys(one.security?.[0] ?? {})[0],
    })));
}

function resolved(doc, schema) {
  const name = schema?.$ref?.split("/").pop();
  return name ? { ...doc.components.schemas[name], ...schema, $ref: undefined, title: name } : schema ?? {};
}

/** What a value is, in a few words: "string", "number or null", "list of Task". */
function kindOf(doc, schema) {
  const one = resolved(doc, schema);
  if (one.const !== undefined) return JSON.stringify(one.const);
  const options = one.anyOf ?? one.oneOf;
  if (options) return options.map((option) => kindOf(doc, option)).join(" or ");
  const types = [one.type ?? "any"].flat();
  return types.map((type) => (type === "array" ? `list of ${kindOf(doc, one.items)}` : type)).join(" or ");
}

/** The bounds of a value, one short text each. */
function boundsOf(schema) {
  const texts = [];
  if (schema.enum) texts.push(schema.enum.map((value) => JSON.stringify(value)).join(", "));
  if (schema.minimum !== undefined || schema.maximum !== undefined) {
    texts.push(`${schema.minimum ?? "…"} to ${schema.maximum ?? "…"}`);
  }
  if (schema.maxLength !== undefined) texts.push(`at most ${schema.maxLength} characters`);
  if (schema.maxItems !== undefined) texts.push(`at most ${schema.maxItems}`);
  if (schema.default !== undefined && schema.default !== null) texts.push(`usually ${JSON.stringify(schema.default)}`);
  return texts;
}

/** An example of a schema's value, for a request to begin with. */
function exampleOf(doc, schema, level = 0) {
  const one = resolved(doc, schema);
  if (one.examples?.length) return one.examples[0];
  if (one.const !== undefined) return one.const;
  if (one.default !== undefined && one.default !== null) return one.default;
  if (one.enum) return one.enum[0];
  const option = (one.anyOf ?? one.oneOf)?.find((each) => each.type !== "null");
  if (option) return exampleOf(doc, option, level);
  const type = [one.type].flat().find((each) => each !== "null");
  if (type === "object" && level < MOST_LEVELS) {
    const wanted = one.required ?? Object.keys(one.properties ?? {});
    return Object.fromEntries(wanted.map((name) => [name, exampleOf(doc, one.properties?.[name], level + 1)]));
  }
  return { array: [], integer: one.minimum ?? 1, number: 1, boolean: true, string: "…" }[type] ?? {};
}

function curlOf(doc, one) {
  const lines = [`curl ${one.method === "GET" ? "" : `-X ${one.method} `}"${doc.servers?.[0]?.url ?? ""}${one.path}"`];
  const key = { teamKey: "$GATEWAY_KEY", adminKey: "$GATEWAY_ADMIN_KEY" }[one.door];
  if (key) lines.push(`-H "Authorization: Bearer ${key}"`);
  const content = one.requestBody?.content ?? {};
  if (content["application/json"]) {
    lines.push('-H "Content-Type: application/json"');
    lines.push(`-d '${JSON.stringify(exampleOf(doc, content["application/json"].schema))}'`);
  } else if (content["multipart/form-data"]) {
    const form = exampleOf(doc, content["multipart/form-data"].schema);
    const files = ["file", "image"];
    lines.push(...Object.keys(form).map((name) => (files.includes(name) ? `-F "${name}=@picture.png"` : `-F "${name}=${form[name]}"`)));
  }
  return lines.join(" \\\n  ");
}

// --- how it is drawn ---------------------------------------------------------------------------

/** Text with `code` in backticks. */
function Prose({ text = "" }) {
  return text.split("`").map((part, at) => (at % 2 ? html`<code key=${at}>${part}</code>` : part));
}

function Row({ name, required, kind, bounds, text }) {
  return html`<tr>
    <th scope="row"><code>${name}</code>${required && html` <span class="docs-must">required</span>`}</th>
    <td><span class="muted">${kind}</span>${bounds.map((bound) => html`<span class="docs-bound">${bound}</span>`)}</td>
    <td><${Prose} text=${text} /></td>
  </tr>`;
}

function Fields({ doc, label, rows }) {
  if (!rows.length) return null;
  return html`<h4>${label}</h4><div class="table-wrap" tabindex="0" role="region" aria-label=${label}>
    <table class="docs-fields"><caption class="unseen">${label}</caption>
      <thead class="unseen"><tr><th scope="col">Name</th><th scope="col">Kind</th><th scope="col">Meaning</th></tr></thead>
      <tbody>${rows}</tbody></table></div>`;
}

/** The members of an object, those of nested objects under dotted names. */
function memberRows(doc, schema, prefix = "", level = 0) {
  let one = resolved(doc, schema);
  let mark = prefix;
  const option = (one.anyOf ?? one.oneOf)?.find((each) => each.type !== "null");
  if (option) one = resolved(doc, option);
  if (one.type === "array") {
    mark = `${prefix}[]`;
    one = resolved(doc, one.items);
  }
  if (!one.properties || level > MOST_LEVELS) return [];
  return Object.entries(one.properties).flatMap(([name, raw]) => {
    const member = resolved(doc, raw);
    const path = mark ? `${mark}.${name}` : name;
    return [
      html`<${Row} key=${path} name=${path} required=${one.required?.includes(name)} kind=${kindOf(doc, raw)}
        bounds=${boundsOf(member)} text=${raw.description ?? (member.title === raw.title ? "" : member.description)} />`,
      ...memberRows(doc, raw, path, level + 1),
    ];
  });
}

function parameterRows(doc, one, place) {
  return (one.parameters ?? []).filter((each) => each.in === place).map((each) => html`<${Row} key=${each.name}
    name=${each.name} required=${each.required} kind=${kindOf(doc, each.schema)} bounds=${boundsOf(each.schema)} text=${each.description} />`);
}

function Answer({ doc, status, answer }) {
  const [kind, content] = Object.entries(answer.content ?? {})[0] ?? [];
  return html`<li><${Badge} tone=${status === "200" ? "good" : status < "500" ? "warn" : "bad"}>${status}<//>
    <span><${Prose} text=${answer.description} /></span>
    ${kind && kind !== "application/json" && html`<code>${Object.keys(answer.content).join(", ")}</code>`}
    ${status === "200" && content?.schema && html`<details class="docs-answer"><summary>What it holds</summary>
      <${Fields} doc=${doc} label="Members of the answer" rows=${memberRows(doc, content.schema)} /></details>`}
  </li>`;
}

function Operation({ doc, one, open, onToggle }) {
  const body = Object.entries(one.requestBody?.content ?? {});
  return html`<details class="docs-operation card" id=${one.id} open=${open} onToggle=${(e) => onToggle(one.id, e.currentTarget.open)}>
    <summary><span class="docs-method" data-method=${one.method}>${one.method}</span> <code class="docs-path">${one.path}</code>
      <span class="docs-summary">${one.summary}</span></summary>
    ${open && html`<div class="stack">
      <p>${one.description && html`<${Prose} text=${one.description} /> `}
        <span class="muted">${one.door ? `Needs a ${DOORS[one.door]}.` : "Needs no key."}</span></p>
      <${Code} text=${curlOf(doc, one)} label="The request with curl" />
      <${Fields} doc=${doc} label="In the path" rows=${parameterRows(doc, one, "path")} />
      <${Fields} doc=${doc} label="Query parameters" rows=${parameterRows(doc, one, "query")} />
      <${Fields} doc=${doc} label="Headers" rows=${parameterRows(doc, one, "header")} />
      ${body.map(([kind, content]) => html`<${Fields} key=${kind} doc=${doc} label=${`Body (${kind})`} rows=${memberRows(doc, content.schema)} />`)}
      <h4>Answers</h4>
      <ul class="docs-answers">${Object.entries(one.responses).map(([status, answer]) => html`<${Answer} key=${status} doc=${doc} status=${status} answer=${answer} />`)}</ul>
    </div>`}
  </details>`;
}

/** One error code; `doc_url` of an error leads to its id. */
function ErrorCode({ one }) {
  return html`<section class="docs-error card" id=${one.code} aria-label=${one.code}>
    <h3><${Badge} tone=${one.statuses[0] < 500 ? "warn" : "bad"}>${one.statuses.join(", ")}<//> <code>${one.code}</code></h3>
    <p><${Prose} text=${one.cause} /></p>
    <p><b>What to do:</b> <${Prose} text=${one.cure} /></p>
  </section>`;
}

const errorsOf = (doc) => Object.entries(doc["x-error-codes"] ?? {}).map(([code, one]) => ({ code, ...one }));

const textOf = (one) => (one.code ? `errors ${one.code} ${one.statuses} ${one.cause} ${one.cure}`
  : `${one.method} ${one.path} ${one.summary} ${one.tag} ${one.description ?? ""}`);

function fits(one, words) {
  const text = textOf(one).toLowerCase();
  return words.every((word) => text.includes(word));
}

function useDocument() {
  const [state, setState] = useState({});
  useEffect(() => {
    fetch("openapi.json").then(async (answer) => {
      if (!answer.ok) throw new Error(`The gateway answered ${answer.status}.`);
      setState({ doc: await answer.json() });
    }).catch((error) => setState({ error }));
  }, []);
  return state;
}

function Page() {
  const { doc, error } = useDocument();
  const [search, setSearch] = useState("");
  const [opened, setOpened] = useState(() => new Set([location.hash.slice(1)]));
  const listed = useMemo(() => (doc ? operationsOf(doc) : []), [doc]);
  useEffect(() => {
    const show = () => {
      const id = location.hash.slice(1);
      setOpened((before) => new Set([...before, id]));
      requestAnimationFrame(() => document.getElementById(id)?.scrollIntoView());
    };
    addEventListener("hashchange", show);
    if (doc && location.hash) show();
    return () => removeEventListener("hashchange", show);
  }, [doc]);
  const toggle = (id, open) => setOpened((before) => {
    if (before.has(id) === open) return before;
    const after = new Set(before);
    open ? after.add(id) : after.delete(id);
    return after;
  });
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = listed.filter((one) => fits(one, words));
  const tags = [...new Set(shown.map((one) => one.tag))];
  const errors = useMemo(() => (doc ? errorsOf(doc) : []), [doc]).filter((one) => fits(one, words));
  return html`<div class="docs">
    <header class="docs-top">
      <div><h1>API</h1><p class="lead">${doc ? html`<${Prose} text=${doc.info.description} />` : "Image Gateway"}</p></div>
      <nav aria-label="Elsewhere" class="row"><a href="console">Console</a><a href="openapi.json">openapi.json</a>
        <${Button} kind="quiet" icon=${shownTheme() === "dark" ? "sun" : "moon"} aria-label="Switch between light and dark" onClick=${switchTheme} /></nav>
    </header>
    <div class="docs-body">
      <nav class="docs-list" aria-label="Endpoints">
        <label class="unseen" for="docs-search">Search</label>
        <input id="docs-search" type="search" placeholder="Search" value=${search} onInput=${(e) => setSearch(e.currentTarget.value)} />
        ${tags.map((tag) => html`<section key=${tag}><h2>${tag}</h2><ul>${shown.filter((one) => one.tag === tag).map((one) => html`<li key=${one.id}>
          <a href=${`#${one.id}`}><span class="docs-method" data-method=${one.method}>${one.method}</span><span>${one.summary}</span></a></li>`)}</ul></section>`)}
        ${errors.length > 0 && html`<section><h2>Errors</h2><ul>${errors.map((one) => html`<li key=${one.code}>
          <a href=${`#${one.code}`}><span class="docs-method" data-method="">${one.statuses[0]}</span><span>${one.code}</span></a></li>`)}</ul></section>`}
      </nav>
      <main class="stack">
        <${ErrorBox} error=${error} title="The description could not be loaded." />
        ${!doc && !error && html`<${Loading} />`}
        ${doc && !shown.length && !errors.length && html`<${Empty} title="Nothing has these words." />`}
        ${tags.map((tag) => html`<section key=${tag} class="stack"><h2>${tag}</h2>
          ${shown.filter((one) => one.tag === tag).map((one) => html`<${Operation} key=${one.id} doc=${doc} one=${one} open=${opened.has(one.id)} onToggle=${toggle} />`)}</section>`)}
        ${errors.length > 0 && html`<section class="stack"><h2>Errors</h2>${errors.map((one) => html`<${ErrorCode} key=${one.code} one=${one} />`)}</section>`}
      </main>
    </div>
  </div>`;
}

render(html`<${Page} />`, document.getElementById("app"));
