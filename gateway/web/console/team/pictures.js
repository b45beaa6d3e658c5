// A kept picture on the page: what it is called on disk, what can be done with it, a large view of it.

import { html, useEffect, useRef } from "../vendor/preact.js";
import { pictureUrl } from "../api.js";
import { go } from "../router.js";
import { Button, ButtonLink, CopyButton, Dialog, Icon, toast } from "../ui.js";
import { useAsReference } from "./order.js";

const NAME = 48;
const ALT = 300;
const SWIPE = 48;

/** "a-red-bicycle-7f3a.png": the beginning of the prompt, cut at a word, and the beginning of the digest. */
export function fileName(prompt, url) {
  const [, digest = "", extension] = /([0-9a-f]*)\.(\w+)$/.exec(url) ?? [];
  const words = prompt.normalize("NFKC").toLowerCase().split(/[^\p{L}\p{N}\p{M}]+/u).filter((word) => /[\p{L}\p{N}]/u.test(word));
  let name = "";
  for (const word of words) {
    if (name.length + word.length >= NAME) break;
    name += `${name && "-"}${word}`;
  }
  return `${name || [...(words[0] ?? "picture")].slice(0, NAME).join("")}-${digest.slice(0, 4)}.${extension}`;
}

/** A prompt as the text that stands for its picture. */
export const altOf = (prompt) => (prompt.length > ALT ? `${prompt.slice(0, ALT)}…` : prompt);

/** What can be done with a picture; `compact` where there are several. */
export function PictureActions({ url, name, compact = false }) {
  const label = (text) => (compact ? { "aria-label": text, title: text } : {});
  return html`<${ButtonLink} icon="download" href=${pictureUrl(url)} download=${name} ...${label("Download")}>${compact ? "" : "Download"}<//>
    <${CopyButton} icon="link" text=${url} label=${compact ? "" : "Copy link"} ...${label("Copy link")} />`;
}

export const LinkHint = () => html`<p class="hint link-hint">Whoever has the link sees the picture, and it never expires.</p>`;

/** From a picture to the next one made from it. */
export function ReferenceButton({ url, name, onUsed }) {
  const act = async () => {
    const complaint = await useAsReference(url, name);
    if (complaint) return toast(complaint, "bad");
    onUsed?.();
    go("playground");
  };
  return html`<${Button} icon="image" onClick=${act}>Use as reference<//>`;
}

/**
 * One picture, large. `children`: what is known of it; `actions`: more buttons; `onStep(by)`: to the one before (-1) or
 * behind (1), by button, arrow key or swipe; `steps`: which of these there are.
 */
export function PictureDialog({ title, url, prompt, name, onClose, onStep, steps = {}, actions, children }) {
  const step = (by) => (by < 0 ? steps.before : steps.after) && onStep(by);
  useArrows(step);
  const swipe = useSwipe(step);
  return html`<${Dialog} wide title=${title} onClose=${onClose} foot=${html`${actions}<${PictureActions} url=${url} name=${name} /><${LinkHint} />`}>
    <div class="viewer">
      <div class="viewer-stage" ...${swipe}>
        <a class="viewer-picture" href=${pictureUrl(url)} target="_blank" rel="noreferrer" aria-label="Open the picture alone, in a new tab">
          <img key=${url} src=${pictureUrl(url)} alt=${altOf(prompt)} /></a>
        ${onStep && html`<${Step} by=${-1} label="Picture before" icon="arrow-left" disabled=${!steps.before} onStep=${step} />
          <${Step} by=${1} label="Next picture" icon="arrow-right" disabled=${!steps.after} onStep=${step} />`}
      </div>
      ${children && html`<div class="viewer-facts">${children}</div>`}
    </div>
  <//>`;
}

/** It stays focusable at the end of the row, so that the keyboard is not lost there. */
function Step({ by, label, icon, disabled, onStep }) {
  return html`<button type="button" class="viewer-step" data-by=${by} aria-label=${label} aria-disabled=${disabled ? "true" : undefined} onClick=${() => onStep(by)}><${Icon} name=${icon} /></button>`;
}

function useArrows(step) {
  const latest = useRef(step);
  latest.current = step;
  useEffect(() => {
    const press = (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.target.closest?.("input, textarea, select, pre")) return;
      event.preventDefault();
      latest.current(by);
    };
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  }, []);
}

/** A finger that goes sideways; with two of them people zoom. */
function useSwipe(step) {
  const start = useRef(null);
  return {
    onTouchStart: (event) => (start.current = event.touches.length === 1 ? event.touches[0] : null),
    onTouchEnd: (event) => {
      const [end] = event.changedTouches;
      const [x, y] = start.current ? [end.clientX - start.current.clientX, end.clientY - start.current.clientY] : [0, 0];
      start.current = null;
      if (Math.abs(x) > SWIPE && Math.abs(x) > 2 * Math.abs(y)) step(x < 0 ? 1 : -1);
    },
  };
}
