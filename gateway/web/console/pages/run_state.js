// The states of a run, as colours and words.

import { html } from "../vendor/preact.js";
import { Badge } from "../ui.js";

export const STATES = {
  submitting: ["info", "Submitting"], queued: ["warn", "Waiting"], unsure: ["warn", "Unsure"], running: ["info", "Running"],
  keeping: ["info", "Keeping"], done: ["good", "Done"], failed: ["bad", "Failed"],
};

export function State({ state }) {
  const [tone, word] = STATES[state] ?? ["none", state];
  return html`<${Badge} tone=${tone}>${word}<//>`;
}
