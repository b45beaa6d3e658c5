// The response cache: how full, how useful, and emptying it.

import { html, useState } from "../vendor/preact.js";
import { send, useData } from "../api.js";
import { Button, Card, Confirm, ErrorBox, Loading, Stat, bytes, count, duration, percent, toast } from "../ui.js";
import { TeamChoice } from "./filters.js";

export default function Cache() {
  const { data, error, reload } = useData("admin", "admin/v1/cache");
  const [asking, setAsking] = useState(false);
  const [team, setTeam] = useState("");
  if (!data) return error ? html`<${ErrorBox} error=${error} retry=${reload} />` : html`<${Loading} />`;
  const { hit, miss, stale } = data.requests;
  const all = hit + miss + stale;
  const purge = async () => {
    const { purged } = await send("admin", "POST", "admin/v1/cache/purge", team ? { team } : {});
    toast(`${count(purged)} finished orders answer nobody any more`);
    reload();
  };
  return html`<div class="stats">
      <${Stat} label="Answers held ready" value=${count(data.entries)} note=${`each for ${duration(data.ttl_seconds)}`} />
      <${Stat} label="Size" value=${bytes(data.bytes)} note=${`of ${bytes(data.size_limit_bytes)}`} />
      <${Stat} label="Answered from it" value=${percent(hit, all)} note=${`${count(hit)} of ${count(all)} look-ups`} />
      <${Stat} label="Stale" value=${count(stale)} note="held, but no longer true" />
    </div>
    <${Card} title="Purge" class="card purge">
      <p>Identical orders are then made and paid for anew. Pictures and their links stay.</p>
      <div class="toolbar"><${TeamChoice} value=${team} onChoose=${setTeam} />
        <${Button} kind="danger" icon="trash-2" onClick=${() => setAsking(true)}>Purge<//></div>
    <//>
    ${asking && html`<${Confirm} title="Purge the cache?" action="Purge" act=${purge} onClose=${() => setAsking(false)}>
      <p>No finished order of ${team ? html`the team <strong>${team}</strong>` : html`<strong>any team</strong>`} answers an identical one any more: it will be paid for again.</p><//>`}`;
}
