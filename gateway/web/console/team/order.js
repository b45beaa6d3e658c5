// What is about to be ordered: the form's values, and the body they make.

import { computed, effect, signal } from "../vendor/preact.js";
import { ask, send } from "../api.js";
import { has, summaries } from "../session.js";

const MAX_FILES = 10;
const MAX_FILE_BYTES = 10_000_000;
export const FILE_TYPES = ["image/jpeg", "image/png", "image/webp"];

const EMPTY = { model: "", prompt: "", size: "", quality: "", n: 1 };

/** The form. `size` and `quality` are "" when upstream decides. */
export const draft = signal(EMPTY);

/** Reference pictures: [{id, name, preview, state: "sending" | "there" | "failed", url, error}]. */
export const references = signal([]);

export const change = (part) => (draft.value = { ...draft.value, ...part });

/** The models of the team, and the one that is chosen. */
export const models = computed(() => summaries.team.value?.models ?? []);
export const model = computed(() => models.value.find((one) => one.id === draft.value.model) ?? models.value[0] ?? null);

/** The body of the order, or null while there is none to send. */
export const body = computed(() => {
  const { prompt, size, quality, n } = draft.value;
  const offer = model.value;
  if (!offer || !prompt.trim() || references.value.some((one) => one.state === "sending")) return null;
  const links = references.value.filter((one) => one.url).map((one) => one.url);
  return {
    model: offer.id,
    prompt,
    ...(fits(offer.sizes, size) && { size }),
    ...(fits(offer.qualities, quality) && { quality }),
    ...(n > 1 && { n: Math.min(n, offer.max_n) }),
    ...(links.length && { image_urls: links }),
  };
});

const fits = (values, value) => value !== "" && (values === null || values.includes(value));

/** Puts an order back into the form; its references stay where they are, as links. */
export function use({ image_urls: links = [], ...order }) {
  draft.value = { ...EMPTY, ...order };
  clearReferences();
  references.value = links.map((url) => ({ id: crypto.randomUUID(), name: url.split("/").pop(), state: "there", url }));
}

/**
 * Said with every order that may be answered from the cache. Developer tools that switch the browser's cache off
 * say "no-cache" where nothing is said, and that would pay for a new picture.
 */
export const REUSE = { "Cache-Control": "max-age=31536000" };
export const FRESH = { "Cache-Control": "no-cache" };

export const estimate = (order, options) => send("team", "POST", "v1/images/estimate", order, { headers: REUSE, ...options });

// --- reference pictures ------------------------------------------------------------------------

/** Takes files in, and sends those that will do. → what was wrong with the others, or "". */
export function addFiles(files) {
  const complaints = [];
  const room = () => mostFiles() - references.value.length;
  for (const file of files) {
    if (!FILE_TYPES.includes(file.type)) complaints.push(`${file.name} is not a JPEG, PNG or WebP picture.`);
    else if (file.size > MAX_FILE_BYTES) complaints.push(`${file.name} is larger than 10 MB.`);
    else if (room() <= 0) complaints.push(`${file.name} is one too many: there may be ${mostFiles()}.`);
    else sendFile(file);
  }
  return complaints.join(" ");
}

export const mostFiles = () => Math.min(MAX_FILES, model.value?.max_image_urls ?? MAX_FILES);

export function removeFile(id) {
  references.value.filter((one) => one.id === id).forEach(release);
  references.value = references.value.filter((one) => one.id !== id);
}

function clearReferences() {
  references.peek().forEach(release);
  references.value = [];
}

function release(one) {
  one.abort?.abort();
  if (one.preview) URL.revokeObjectURL(one.preview);
}

async function sendFile(file) {
  const one = { id: crypto.randomUUID(), name: file.name, preview: URL.createObjectURL(file), state: "sending", abort: new AbortController() };
  references.value = [...references.value, one];
  const form = new FormData();
  form.append("file", file, file.name);
  try {
    const { body } = await ask("team", "api/v1/files/upload/stream", { method: "POST", body: form, signal: one.abort.signal });
    patch(one.id, { state: "there", url: body.data.file_url });
  } catch (error) {
    patch(one.id, { state: "failed", error: error.message });
  }
}

function patch(id, part) {
  references.value = references.value.map((one) => (one.id === id ? { ...one, ...part } : one));
}

// The form belongs to the team whose key is held.
effect(() => {
  if (has.team.value) return;
  draft.value = EMPTY;
  clearReferences();
});
