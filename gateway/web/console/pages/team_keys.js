// A team's keys: issue, rotate, revoke. A secret is shown once, when it is made.

import { html, useState } from "../vendor/preact.js";
import { send, useData } from "../api.js";
import { Badge, Button, Card, Confirm, CopyButton, Dialog, Empty, ErrorBox, Field, Icon, Loading, Select, Table, Time, toast } from "../ui.js";

const STATES = {
  active: ["good", "Active"],
  expiring: ["warn", "Expiring"],
  expired: ["none", "Expired"],
  revoked: ["bad", "Revoked"],
};
const GRACES = [["1h", "1 hour"], ["24h", "1 day"], ["7d", "7 days"], ["30d", "30 days"]];

export function Keys({ team, onChanged }) {
  const path = `admin/v1/teams/${encodeURIComponent(team.name)}/keys`;
  const { data, error, loading, reload } = useData("admin", path);
  const [open, setOpen] = useState(null); // {what: issue|rotate|revoke, row}
  const [issued, setIssued] = useState(null);
  const close = () => setOpen(null);
  const changed = () => (reload(), onChanged());
  const given = (key) => (close(), setIssued(key), changed());
  const rows = data?.data ?? [];
  return html`<${Card} title="Keys" actions=${!team.provisioned && html`<${Button} icon="plus" onClick=${() => setOpen({ what: "issue" })}>Issue a key<//>`}>
      <${ErrorBox} error=${error} retry=${reload} />
      ${loading && !data && html`<${Loading} />`}
      ${data && !rows.length && html`<${Empty} icon="key-round" title="This team has no key."><p class="muted">It cannot order without one.</p><//>`}
      ${rows.length > 0 && html`<div class="cards"><${Table} caption="Keys" rows=${rows} rowKey=${(key) => key.id} busy=${loading} columns=${columns(team, setOpen)} /></div>`}
    <//>
    ${open?.what === "issue" && html`<${Issue} path=${path} onDone=${given} onClose=${close} />`}
    ${open?.what === "rotate" && html`<${Rotate} path=${path} old=${open.row} onDone=${given} onClose=${close} />`}
    ${open?.what === "revoke" && html`<${Revoke} path=${path} row=${open.row} onDone=${changed} onClose=${close} />`}
    ${issued && html`<${Secret} issued=${issued} onClose=${() => setIssued(null)} />`}`;
}

function columns(team, setOpen) {
  const acts = (key) => {
    if (key.provisioned || !["active", "expiring"].includes(key.state)) return null;
    const named = key.label || key.id;
    return html`<div class="row acts">
      ${key.state === "active" && html`<${Button} kind="quiet" icon="rotate-ccw-key" aria-label=${`Rotate ${named}`} onClick=${() => setOpen({ what: "rotate", row: key })}>Rotate<//>`}
      <${Button} kind="quiet" icon="ban" aria-label=${`Revoke ${named}`} onClick=${() => setOpen({ what: "revoke", row: key })}>Revoke<//></div>`;
  };
  return [
    { name: "key", head: "Key", wide: true, cell: (key) => html`<div><strong>${key.label || "Without a label"}</strong>
      <p class="hint mono">${key.provisioned ? key.id : `igw_${key.id}_…`}</p></div>` },
    { name: "state", head: "State", cell: (key) => html`<${KeyState} keyRow=${key} />` },
    { name: "made", head: "Made", cell: (key) => (key.provisioned ? html`<span class="muted">In the settings</span>` : html`<${Time} at=${key.created_at} />`) },
    ...(team.provisioned ? [] : [{ name: "acts", head: "", align: "end", wide: true, cell: acts }]),
  ];
}

function KeyState({ keyRow }) {
  const [tone, word] = STATES[keyRow.state] ?? ["none", keyRow.state];
  return html`<div><${Badge} tone=${tone}>${word}<//>
    ${keyRow.state === "expiring" && html`<p class="hint">ends <${Time} at=${keyRow.expires_at} how="relative" /></p>`}
    ${keyRow.state === "expired" && html`<p class="hint"><${Time} at=${keyRow.expires_at} /></p>`}
    ${keyRow.state === "revoked" && html`<p class="hint"><${Time} at=${keyRow.revoked_at} /></p>`}
    ${keyRow.replaces && html`<p class="hint">replaces <span class="mono">${keyRow.replaces}</span></p>`}</div>`;
}

/** Sends once, shows what went wrong, tells what came. */
function useSending(path, onDone) {
  const [state, setState] = useState({ busy: false, error: null });
  const submit = (body) => async (event) => {
    event.preventDefault();
    setState({ busy: true, error: null });
    try {
      onDone(await send("admin", "POST", path, body));
    } catch (error) {
      setState({ busy: false, error });
    }
  };
  return { ...state, submit };
}

function Issue({ path, onDone, onClose }) {
  const [label, setLabel] = useState("");
  const { busy, error, submit } = useSending(path, onDone);
  return html`<${Dialog} title="Issue a key" onClose=${onClose} foot=${html`<${Button} onClick=${onClose}>Cancel<//>
      <${Button} kind="primary" type="submit" form="issue-key" busy=${busy} icon="key-round">Issue the key<//>`}>
    <form id="issue-key" class="stack" onSubmit=${submit({ label: label.trim() })}>
      <${LabelField} value=${label} onInput=${setLabel} error=${error?.param === "label" ? error.message : ""} />
      ${error?.param !== "label" && html`<${ErrorBox} error=${error} />`}
    </form>
  <//>`;
}

function LabelField({ value, onInput, error }) {
  return html`<${Field} label="Label" hint="What it is for, such as “production” or “nightly batch”." error=${error}>${(a) => html`
    <input ...${a} maxlength="100" autocomplete="off" autofocus value=${value} onInput=${(e) => onInput(e.target.value)} />`}<//>`;
}

function Rotate({ path, old, onDone, onClose }) {
  const [grace, setGrace] = useState("24h");
  const { busy, error, submit } = useSending(`${path}/${encodeURIComponent(old.id)}/rotate`, onDone);
  return html`<${Dialog} title="Rotate this key" onClose=${onClose} foot=${html`<${Button} onClick=${onClose}>Cancel<//>
      <${Button} kind="primary" type="submit" form="rotate-key" busy=${busy} icon="rotate-ccw-key">Make the new key<//>`}>
    <form id="rotate-key" class="stack" onSubmit=${submit({ grace })}>
      <p>A new key is made in place of <strong>${old.label || old.id}</strong>. Both work until the time below is over; then the old one stops.</p>
      <${Field} label="The old key works for another">${(a) => html`
        <${Select} ...${a} autofocus options=${GRACES} value=${grace} onChange=${(e) => setGrace(e.target.value)} />`}<//>
      <${ErrorBox} error=${error} />
    </form>
  <//>`;
}

function Revoke({ path, row, onDone, onClose }) {
  const act = async () => {
    await send("admin", "DELETE", `${path}/${encodeURIComponent(row.id)}`);
    toast("The key is revoked");
    onDone();
  };
  return html`<${Confirm} title="Revoke this key?" action="Revoke the key" act=${act} onClose=${onClose}>
    <p><strong>${row.label || row.id}</strong> stops working with the next request, and cannot be brought back.</p>
  <//>`;
}

/** The one time that a secret is seen. Closing it uncopied asks once more. */
function Secret({ issued, onClose }) {
  const [copied, setCopied] = useState(false);
  const [warned, setWarned] = useState(false);
  const close = () => (copied || warned ? onClose() : setWarned(true));
  return html`<${Dialog} title="The new key" onClose=${close} foot=${html`
      <${Button} kind=${copied ? "primary" : "plain"} onClick=${close}>${warned && !copied ? "Close without copying" : "Done"}<//>`}>
    <div class="stack">
      <div class="note" data-tone="warn"><${Icon} name="triangle-alert" /><p><strong>Copy it now: you will not see it again.</strong> The gateway keeps only a digest of it.</p></div>
      <div class="secret">
        <textarea class="mono" readonly rows="2" spellcheck="false" aria-label="The new key" value=${issued.key} onFocus=${(e) => e.target.select()}></textarea>
        <${CopyButton} kind="primary" autofocus text=${issued.key} label="Copy" onCopied=${() => setCopied(true)} />
      </div>
      ${issued.replaced && html`<p>The old key <span class="mono">${issued.replaced.id}</span> works until <${Time} at=${issued.replaced.expires_at} />.</p>`}
      ${warned && !copied && html`<p role="alert" class="field-error"><${Icon} name="circle-alert" />You have not copied it yet.</p>`}
    </div>
  <//>`;
}
