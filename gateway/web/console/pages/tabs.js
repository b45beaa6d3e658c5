// Views of one page beside each other: links, so that each has an address.

import { html } from "../vendor/preact.js";
import { link } from "../router.js";

/** `tabs`: [[view, title], …]; the view is the address' `view`, the first has none. */
export function Tabs({ page, label, tabs, view = "", keep = {} }) {
  return html`<nav class="tabs" aria-label=${label}>
    ${tabs.map(([name, title]) => html`<a key=${name} href=${link(page, [], { ...keep, view: name })}
      aria-current=${name === view ? "page" : undefined}>${title}</a>`)}
  </nav>`;
}
