// A kept picture on the page: what it is called on disk, what can be done with it, a large view of it.

import { html } from "../vendor/preact.js";
import { pictureUrl } from "../api.js";
import { ButtonLink, CopyButton, Dialog } from "../ui.js";

/** "a-red-bicycle-2.png": the beginning of the prompt, and a number where there are several. */
export function fileName(prompt, url, number) {
  const words = prompt.normalize("NFKD").toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 48);
  const name = words.replace(/^-+|-+$/g, "") || "picture";
  return `${name}${number ? `-${number}` : ""}.${url.split(".").pop()}`;
}

/** What can be done with a picture. */
export function PictureActions({ url, name }) {
  return html`<${ButtonLink} icon="download" href=${pictureUrl(url)} download=${name}>Download<//>
    <${CopyButton} icon="link" text=${url} label="Copy link" />`;
}

/** One picture, large. `children`: what is known of it; `actions`: more buttons. */
export function PictureDialog({ title, url, prompt, name, onClose, actions, children }) {
  return html`<${Dialog} wide title=${title} onClose=${onClose} foot=${html`${actions}<${PictureActions} url=${url} name=${name} />`}>
    <div class="viewer">
      <a class="viewer-picture" href=${pictureUrl(url)} target="_blank" rel="noreferrer" aria-label="Open the picture alone, in a new tab">
        <img src=${pictureUrl(url)} alt=${prompt} /></a>
      ${children && html`<div class="viewer-facts">${children}</div>`}
    </div>
  <//>`;
}
