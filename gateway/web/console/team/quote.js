// What the order in the form would cost, before anything is sent; why it would be refused, and what would fit.

import { html, useEffect, useState } from "../vendor/preact.js";
import { away, isAway } from "../api.js";
import { Button, Icon, Time, money, standingName, useSettled, withTimes } from "../ui.js";
import { change, choose, estimate } from "./order.js";
import { fitting } from "./prices.js";
import { pictures, valueWords } from "./words.js";
import { refreshSummary, shown, tightest } from "./work.js";

/** What is wrong with these may come of settings that changed while the page was open: then the form is asked for anew. */
const CHANGED = ["model", "size", "quality", "resolution", "n"];

/**
 * The estimate of the order, once it has been still for a moment: {answer} or {error}; null without an order, and
 * {} while it is not known. One of a former order is never shown: it could promise a price that does not hold.
 */
export function useQuote(order) {
  const asked = order ? JSON.stringify(order) : "";
  const settled = useSettled(asked, 350);
  const ended = shown.value?.until;
  const seen = useSeen();
  const [quote, setQuote] = useState(null);
  useEffect(() => {
    if (!settled) return setQuote(null);
    if (away.value) return undefined;
    const abort = new AbortController();
    estimate(JSON.parse(settled), { signal: abort.signal }).then(
      (answer) => {
        setQuote({ of: settled, answer });
        if (answer.denial?.reason.endsWith("_not_allowed")) refreshSummary();
      },
      (error) => {
        if (abort.signal.aborted) return;
        setQuote(isAway(error) ? null : { of: settled, error });
        if (CHANGED.includes(error.param)) refreshSummary();
      },
    );
    return () => abort.abort();
  }, [settled, ended, away.value, seen]);
  if (!asked) return null;
  return quote?.of === asked ? quote : {};
}

/** Changes when the tab is looked at again: meanwhile others may have spent what was left. */
function useSeen() {
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const look = () => document.visibilityState === "visible" && setTurn((n) => n + 1);
    document.addEventListener("visibilitychange", look);
    return () => document.removeEventListener("visibilitychange", look);
  }, []);
  return turn;
}

export function Quote({ quote }) {
  return html`<div class="quote" role="status" aria-live="polite"><${Told} quote=${quote} /></div>`;
}

function Told({ quote }) {
  if (away.value) {
    return html`<p class="quote-line" data-verdict="away"><${Icon} name="wifi-off" /><span><strong>No answer from the gateway.</strong> It is asked again by itself; what you wrote stays here.</span></p>`;
  }
  if (!quote) return html`<p class="muted">The price is shown here before anything is sent.</p>`;
  if (quote.error) return html`<${Refusal} text=${quote.error.message} />`;
  if (quote.answer) return html`<${Answer} answer=${quote.answer} />`;
  return html`<p class="muted" aria-hidden="true">Asking for the price…</p>`;
}

function Answer({ answer }) {
  const { verdict, denial } = answer;
  if (verdict === "deny") return html`<${Refusal} text=${denial.message} rule=${denial.rule} resets=${denial.resets_at} /><${Fits} answer=${answer} />`;
  return html`<p class="quote-line" data-verdict=${verdict}><${Icon} name=${{ hit: "zap", join: "git-merge", unknown: "triangle-alert" }[verdict] ?? "play"} />
      <span>${words(answer)}</span></p>
    ${denial && html`<p class="hint">Beyond a limit, but your team is only watched: ${withTimes(denial.message)}</p>`}
    <${Left} budgets=${answer.budgets} />`;
}

function words({ verdict, price_usd: price, n }) {
  const most = price === null ? "at an unknown price" : html`at most <strong class="num">${money(price)}</strong>`;
  return {
    hit: html`<strong>From the cache</strong>, for nothing`,
    join: html`<strong>Is being made already</strong>: you get the same, for nothing`,
    start: html`<strong>Makes ${pictures(n)}</strong>, ${most}`,
    unknown: html`<strong>What became of the same request is not known yet.</strong> Sending it again could pay twice`,
  }[verdict];
}

/** The tightest money, in one line. */
function Left({ budgets }) {
  const limit = tightest(budgets);
  return limit && html`<p class="hint num">${leftWords(limit)} of ${money(limit.limit)}</p>`;
}

/** "$1.38 left today". */
export const leftWords = (limit) => `${money(limit.left)} left ${standingName({ measure: "", window: limit.window })}`;

/** What the team could have for the money that is left. */
function Fits({ answer }) {
  const limit = tightest(answer.budgets);
  if (answer.denial.reason !== "budget" || !limit) return null;
  const found = fitting(answer.n, limit.left);
  const take = ({ part: { n, ...chosen } }) => {
    if (n) change({ n });
    if (Object.keys(chosen).length) choose(chosen);
  };
  return found.length > 0 && html`<div class="row fits">${found.map((one) => html`<${Button} key=${one.name} icon="check" onClick=${() => take(one)}>
    ${fitWords(one)} would fit (${money(one.usd)})<//>`)}</div>`;
}

/** "8 pictures", "Low", "2 pictures in Low". */
function fitWords({ name, value, n = null }) {
  const amount = (many) => `${many} ${many === 1 ? "picture" : "pictures"}`;
  if (name === "n") return amount(value);
  return n ? `${amount(n)} in ${valueWords(name, value)}` : valueWords(name, value);
}

function Refusal({ text, rule, resets }) {
  return html`<p class="quote-line" data-verdict="deny"><${Icon} name="ban" /><span><strong>Would be refused.</strong> ${withTimes(text)}</span></p>
    ${(rule || resets) && html`<p class="hint">${rule && html`Rule <code>${rule}</code>`}${rule && resets && " · "}${resets && html`free again <${Time} at=${resets} how="relative" />`}</p>`}`;
}
