// One team: its budgets, its rules, its keys.

import { html, useState } from "../vendor/preact.js";
import { send, useData } from "../api.js";
import { go, link } from "../router.js";
import { Badge, Bar, Button, ButtonLink, Card, Confirm, Empty, ErrorBox, Field, Icon, Loading, PageHead, Stat, Time, count, money, toast } from "../ui.js";
import { teamNames } from "./filters.js";
import { EditTeam } from "./team_form.js";
import { Keys } from "./team_keys.js";

/** What is special about a team: shadow mode, and that it is kept in the settings file. */
export function TeamBadges({ team }) {
  return html`${team.settings.mode === "shadow" && html`<${Badge} tone="warn" icon="eye">Shadow mode<//>`}
    ${team.provisioned && html`<${Badge} icon="settings">From the settings<//>`}`;
}

export default function Team({ name, editing }) {
  const path = `admin/v1/teams/${encodeURIComponent(name)}`;
  const { data: team, error, reload } = useData("admin", path);
  const [deleting, setDeleting] = useState(false);
  if (!team) return html`<${PageHead} title=${name} />${error ? html`<${ErrorBox} error=${error} retry=${reload} />` : html`<${Loading} />`}`;
  if (editing && !team.provisioned) return html`<${EditTeam} team=${team} onSaved=${reload} />`;
  const remove = async () => {
    await send("admin", "DELETE", path);
    teamNames.value = null;
    toast(`${name} is deleted`);
    go("teams");
  };
  return html`<p class="crumbs"><a href=${link("teams")}><${Icon} name="arrow-left" />All teams</a></p>
    <${PageHead} title=${name} actions=${!team.provisioned && html`
      <${ButtonLink} icon="pencil" href=${link("teams", [name, "edit"])}>Edit<//>
      <${Button} kind="danger" icon="trash-2" onClick=${() => setDeleting(true)}>Delete<//>`}>${team.description}<//>
    <${ErrorBox} error=${error} retry=${reload} />
    <div class="row marks"><${TeamBadges} team=${team} /></div>
    <${Notes} team=${team} />
    <div class="stats">
      <${Stat} label="Spent this month" value=${money(team.spent_month_usd)} />
      <${Stat} label="Spent in all" value=${money(team.spent_usd)} />
      <${Stat} label="Live keys" value=${count(team.keys)} />
    </div>
    <div class="split">
      <${Card} title="Budgets and limits"><${Standing} team=${team} /><//>
      <${Card} title="Rules"><${Rules} team=${team} /><//>
    </div>
    <${Keys} team=${team} onChanged=${reload} />
    ${deleting && html`<${Delete} name=${name} act=${remove} onClose=${() => setDeleting(false)} />`}`;
}

function Notes({ team }) {
  const refused = link("runs", [], { view: "refused", team: team.name });
  return html`
    ${team.provisioned && html`<div class="note"><${Icon} name="settings" /><p>This team is kept in the settings file, under <code>teams.${team.name}</code>.${" "}
      Change it there and reload the settings; here it can only be looked at.</p></div>`}
    ${team.settings.mode === "shadow" && html`<div class="note" data-tone="warn"><${Icon} name="eye" /><p>Shadow mode: its limits are watched and nothing
      is refused, so it can spend more than its budgets. <a href=${refused}>See what would have been refused</a>.</p></div>`}`;
}

function Standing({ team }) {
  if (!team.standing.length) return html`<${Empty} icon="wallet" title="This team has no limit.">
    <p class="muted">It can spend as much as it orders.</p><//>`;
  return html`<div class="limits">${team.standing.map((one) => html`<${Bar} key=${one.rule} standing=${one} />`)}</div>`;
}

const REFERENCES = {
  trust: "Trusted: a link names one picture",
  fetch: "Fetched and checked before any money moves",
};
const SCOPES = { team: "Its own orders only", organization: "Shared with other teams that share" };

const CONTROLS = { honour: "Clients may, with Cache-Control", ignore: "No client may" };

function Rules({ team }) {
  const { allow, cache, defaults, mode, references } = team.settings;
  const listed = (values) => (values?.length ? values.map((one) => html`<${Badge} key=${one}>${one}<//> `) : "All");
  const { name } = team;
  return html`<dl class="facts">
      <dt>Models</dt><dd>${listed(allow?.models)}</dd>
      <dt>Sizes</dt><dd>${listed(allow?.sizes)}</dd>
      <dt>Qualities</dt><dd>${listed(allow?.qualities)}</dd>
      <dt>Pictures in one order</dt><dd>${allow?.max_n ? `At most ${allow.max_n}` : "As many as the model takes"}</dd>
      ${Object.keys(defaults ?? {}).length > 0 && html`<dt>Left out</dt><dd>${Object.entries(defaults).map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`).join(", ")}</dd>`}
      <dt>Cache</dt><dd>${SCOPES[cache?.scope] ?? "As in the settings"}</dd>
      <dt>Passing it by</dt><dd>${CONTROLS[cache?.client_control] ?? "As in the settings"}</dd>
      <dt>References</dt><dd>${REFERENCES[references] ?? references}</dd>
      <dt>Mode</dt><dd>${mode === "shadow" ? "Shadow: nothing is refused" : "Enforced"}</dd>
      ${team.created_at && html`<dt>Created</dt><dd><${Time} at=${team.created_at} /></dd>`}
      ${team.changed_at && html`<dt>Changed</dt><dd><${Time} at=${team.changed_at} /></dd>`}
    </dl>
    <div class="row links">
      <${ButtonLink} kind="quiet" icon="chart-column-stacked" href=${link("usage", [], { team: name })}>Spend<//>
      <${ButtonLink} kind="quiet" icon="list" href=${link("runs", [], { team: name })}>Runs<//>
      <${ButtonLink} kind="quiet" icon="ban" href=${link("runs", [], { view: "refused", team: name })}>Refused<//>
      <${ButtonLink} kind="quiet" icon="images" href=${link("runs", [], { view: "pictures", team: name })}>Pictures<//>
      <${ButtonLink} kind="quiet" icon="history" href=${link("health", [], { view: "changes", subject: name })}>Changes<//>
    </div>`;
}

function Delete({ name, act, onClose }) {
  const [typed, setTyped] = useState("");
  return html`<${Confirm} title="Delete this team?" action="Delete the team" act=${act} onClose=${onClose} disabled=${typed !== name}>
    <div class="stack">
      <p>Its keys stop working at once. What it has spent, its runs and its pictures stay.</p>
      <${Field} label=${html`To confirm, type <strong class="mono">${name}</strong>`}>${(a) => html`
        <input ...${a} class="mono" autocomplete="off" spellcheck="false" autofocus value=${typed} onInput=${(e) => setTyped(e.target.value)} />`}<//>
    </div>
  <//>`;
}
