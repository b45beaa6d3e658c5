// The form of a team: for a new one, and for changing one.

import { html, useState } from "../vendor/preact.js";
import { send, useData } from "../api.js";
import { go, link } from "../router.js";
import { Button, ButtonLink, Card, ErrorBox, Field, Icon, PageHead, Segments, Select, toast } from "../ui.js";
import { modelNames, teamNames } from "./filters.js";
import { PER, creation, faultsOf, formOf, offered, patch, problems } from "./team_settings.js";

export function NewTeam() {
  const save = async (form) => {
    const made = await send("admin", "POST", "admin/v1/teams", creation(form));
    teamNames.value = null;
    toast(`${made.name} is made. Issue a key next.`);
    go("teams", [made.name], {}, { replace: true });
  };
  return html`<${TeamForm} title="New team" action="Create the team" first=${formOf(null)} save=${save} back=${link("teams")} naming />`;
}

export function EditTeam({ team, onSaved }) {
  const first = formOf(team);
  const save = async (form) => {
    const change = patch(first, form);
    if (Object.keys(change).length) {
      await send("admin", "PATCH", `admin/v1/teams/${encodeURIComponent(team.name)}`, change);
      toast("Saved. It holds from the next order on.");
      onSaved();
    }
    go("teams", [team.name], {}, { replace: true });
  };
  return html`<${TeamForm} title=${`Edit ${team.name}`} action="Save" first=${first} save=${save} back=${link("teams", [team.name])} />`;
}

function TeamForm({ title, action, first, save, back, naming = false }) {
  const [form, setForm] = useState(first);
  const [state, setState] = useState({ busy: false, error: null, faults: {} });
  const { data } = useData("admin", "admin/v1/settings");
  const set = (change) => setForm((old) => ({ ...old, ...change }));
  const submit = async (event) => {
    event.preventDefault();
    const faults = problems(form);
    setState({ busy: !Object.keys(faults).length, error: null, faults });
    if (Object.keys(faults).length) return focusFault();
    try {
      await save(form);
    } catch (error) {
      const found = faultsOf(error, (field) => document.querySelector(`[data-field="${CSS.escape(field)}"]`));
      setState({ busy: false, error: found ? null : error, faults: found ?? {} });
      if (found) focusFault();
    }
  };
  const part = { form, set, faults: state.faults, settings: data?.settings };
  return html`<p class="crumbs"><a href=${back}><${Icon} name="arrow-left" />${naming ? "All teams" : first.name}</a></p>
    <${PageHead} title=${title} />
    <form class="stack team-form" onSubmit=${submit} novalidate>
      <${About} ...${part} naming=${naming} />
      <div class="split">
        <${Money} ...${part} /><${Limits} ...${part} />
      </div>
      <${Allowed} ...${part} />
      <${Ways} ...${part} />
      <${ErrorBox} error=${state.error} />
      <div class="row form-end">
        <${Button} kind="primary" type="submit" icon="check" busy=${state.busy}>${action}<//>
        <${ButtonLink} href=${back}>Cancel<//>
      </div>
    </form>`;
}

/** To the first field at fault, once it is marked. */
function focusFault() {
  setTimeout(() => document.querySelector('.team-form [aria-invalid="true"]')?.focus(), 50);
}

function About({ form, set, faults, naming }) {
  return html`<${Card} title="About">
    ${naming && html`<${Field} label="Name" hint="It cannot be changed later. Letters and digits, with . _ : - between them." error=${faults.name}>${(a) => html`
      <input ...${a} data-field="name" required maxlength="128" autocomplete="off" spellcheck="false" autofocus value=${form.name} onInput=${(e) => set({ name: e.target.value })} />`}<//>`}
    <${Field} label="Description" hint="For people: what the team does, or whom to ask." error=${faults.description}>${(a) => html`
      <input ...${a} data-field="description" maxlength="500" value=${form.description} onInput=${(e) => set({ description: e.target.value })} />`}<//>
    <div class="field"><span class="field-label"><strong>Mode</strong></span>
      <${Segments} label="Mode" options=${[["enforce", "Enforce limits"], ["shadow", "Shadow"]]} value=${form.mode} onChoose=${(mode) => set({ mode })} />
      <p class="hint">${form.mode === "shadow" ? "Limits are watched, and nothing is refused: see first what a limit would do." : "An order beyond a limit is refused before any money moves."}</p></div>
  <//>`;
}

/** Rows of an amount and a window, such as budgets. */
function Amounts({ label, one, unit, field, path, rows, setRows, faults, step, first, firstPer = "day" }) {
  const change = (at, part) => setRows(rows.map((row, i) => (i === at ? { ...row, ...part } : row)));
  const free = PER.map(([per]) => per).find((per) => !rows.some((row) => row.per === per));
  return html`<fieldset class="amounts"><legend class="unseen">${label}</legend>
    ${rows.map((row, i) => html`<div class="amount" key=${i}>
      <${Field} label=${unit} error=${faults[`${path}.${i}.${field}`]}>${(a) => html`
        <input ...${a} data-field=${`${path}.${i}.${field}`} type="number" inputmode="decimal" min="0" step=${step} value=${row.amount} onInput=${(e) => change(i, { amount: e.target.value })} />`}<//>
      <${Field} label="Per" error=${faults[`${path}.${i}.per`]}>${(a) => html`
        <${Select} ...${a} data-field=${`${path}.${i}.per`} options=${PER} value=${row.per} onChange=${(e) => change(i, { per: e.target.value })} />`}<//>
      <${Button} kind="quiet" icon="trash-2" aria-label=${`Remove ${one} ${i + 1}`} onClick=${() => setRows(rows.filter((_, at) => at !== i))} />
    </div>`)}
    ${!rows.length && html`<p class="muted">${first}</p>`}
    ${free && html`<${Button} icon="plus" onClick=${() => setRows([...rows, { amount: "", per: rows.length ? free : firstPer }])}>Add a ${one}<//>`}
  </fieldset>`;
}

function Money({ form, set, faults }) {
  return html`<${Card} title="Budgets">
    <p class="hint">Hard caps, all of them at once. Windows begin by the calendar. A changed cap keeps what was spent.</p>
    <${Amounts} label="Budgets" one="budget" unit="US dollars" field="usd" path="budgets" step="any" firstPer="month" rows=${form.budgets} setRows=${(budgets) => set({ budgets })} faults=${faults}
      first=${html`<strong>No budget: the team can spend without an end.</strong>`} />
  <//>`;
}

function Limits({ form, set, faults }) {
  const whole = (label, name, hint) => html`<${Field} label=${label} hint=${hint} error=${faults[`limits.${name}`]}>${(a) => html`
    <input ...${a} data-field=${`limits.${name}`} type="number" min="1" step="1" placeholder="No limit" value=${form[name]} onInput=${(e) => set({ [name]: e.target.value })} />`}<//>`;
  return html`<${Card} title="Limits">
    <${Amounts} label="Picture limits" one="picture limit" unit="Pictures" field="count" path="limits.images" step="1" rows=${form.images} setRows=${(images) => set({ images })} faults=${faults}
      first="As many pictures as the budgets allow." />
    ${whole("New orders per minute", "runs_per_minute", "Answers from the cache do not count.")}
    ${whole("Orders at the same time", "concurrent_runs")}
  <//>`;
}

function Allowed({ form, set, faults, settings }) {
  const models = modelNames().length ? modelNames() : Object.keys(settings?.models ?? {});
  return html`<${Card} title="What it may order">
    <div class="allowed">
      <${Allow} label="Models" name="models" offered=${models} chosen=${form.models} onChoose=${(models) => set({ models })} error=${faults["allow.models"]} />
      <${Allow} label="Sizes" name="sizes" offered=${offered(settings, "sizes")} chosen=${form.sizes} onChoose=${(sizes) => set({ sizes })} error=${faults["allow.sizes"]} open />
      <${Allow} label="Qualities" name="qualities" offered=${offered(settings, "qualities")} chosen=${form.qualities} onChoose=${(qualities) => set({ qualities })} error=${faults["allow.qualities"]} open />
      <${Field} label="Pictures in one order" error=${faults["allow.max_n"]}>${(a) => html`
        <input ...${a} data-field="allow.max_n" type="number" min="1" max="10" step="1" placeholder="As the model" value=${form.max_n} onInput=${(e) => set({ max_n: e.target.value })} />`}<//>
      <${Default} label="Size, where an order has none" field="size" values=${form.sizes ?? offered(settings, "sizes")} form=${form} set=${set} error=${faults["defaults.size"]} />
      <${Default} label="Quality, where an order has none" field="quality" values=${form.qualities ?? offered(settings, "qualities")} form=${form} set=${set} error=${faults["defaults.quality"]} />
    </div>
  <//>`;
}

/** What an order gets that leaves the field out; other defaults of the team stay as they are. */
function Default({ label, field, values, form, set, error }) {
  const value = form.defaults[field] ?? "";
  const options = [["", "As the model has it"], ...new Set([...values, ...(value ? [value] : [])])];
  return html`<${Field} label=${label} error=${error}>${(a) => html`
    <${Select} ...${a} data-field=${`defaults.${field}`} options=${options} value=${value} onChange=${(e) => set({ defaults: { ...form.defaults, [field]: e.target.value || null } })} />`}<//>`;
}

/** All, or a choice among what the models offer; `open`: other values may be added. */
function Allow({ label, name, offered: values, chosen, onChoose, error, open = false }) {
  const [other, setOther] = useState("");
  const listed = [...new Set([...values, ...(chosen ?? [])])];
  const tick = (value, on) => onChoose(listed.filter((one) => (one === value ? on : chosen.includes(one))));
  const add = () => {
    const more = other.split(",").map((one) => one.trim()).filter(Boolean);
    if (more.length) onChoose([...new Set([...chosen, ...more])]);
    setOther("");
  };
  return html`<fieldset class="allow" data-field=${`allow.${name}`}><legend>${label}</legend>
    <${Segments} label=${`${label}: all or some`} options=${[["all", "All"], ["some", "Only some"]]} value=${chosen === null ? "all" : "some"}
      onChoose=${(which) => onChoose(which === "all" ? null : [])} />
    ${chosen && html`<div class="ticks">${listed.map((value) => html`<label key=${value}>
      <input type="checkbox" checked=${chosen.includes(value)} aria-invalid=${error ? "true" : undefined} onChange=${(e) => tick(value, e.target.checked)} /><span>${value}</span></label>`)}</div>`}
    ${chosen && open && html`<div class="other"><input aria-label=${`Other ${label.toLowerCase()}`} placeholder="Other, such as 9:16" value=${other} onInput=${(e) => setOther(e.target.value)}
      onKeyDown=${(e) => e.key === "Enter" && (e.preventDefault(), add())} /><${Button} icon="plus" aria-label=${`Add to ${label.toLowerCase()}`} disabled=${!other.trim()} onClick=${add} /></div>`}
    ${error && html`<p class="field-error" role="alert"><${Icon} name="circle-alert" />${error}</p>`}
  </fieldset>`;
}

function Ways({ form, set, faults }) {
  const choice = (label, hint, name, path, options) => html`<${Field} label=${label} hint=${hint} error=${faults[path]}>${(a) => html`
    <${Select} ...${a} data-field=${path} options=${options} value=${form[name]} onChange=${(e) => set({ [name]: e.target.value })} />`}<//>`;
  return html`<${Card} title="Cache and references"><div class="split">
    ${choice("Answers from the cache", "Whose finished orders may answer this team's.", "scope", "cache.scope", [["", "As in the settings"], ["team", "Its own only"], ["organization", "The whole organisation's"]])}
    ${choice("Clients that pass the cache by", "With Cache-Control: no-cache a client has a new picture made, and pays for it.", "client_control", "cache.client_control", [["", "As in the settings"], ["honour", "Allowed"], ["ignore", "Ignored"]])}
    ${choice("Reference pictures", "Fetched ones are checked first, and count by their bytes.", "references", "references", [["trust", "Trust the link"], ["fetch", "Fetch and check"]])}
  </div><//>`;
}
