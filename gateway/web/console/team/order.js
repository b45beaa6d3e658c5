// What is about to be ordered: the form's values, and the body they make.

import { computed, effect, signal } from "../vendor/preact.js";
import { ask, pictureUrl, send } from "../api.js";
import { has, summaries } from "../session.js";
import { browser, readJson, tab } from "../storage.js";

const MAX_FILES = 10;
const MAX_FILE_BYTES = 10_000_000;
export const FILE_TYPES = ["image/jpeg", "image/png", "image/webp"];

const DRAFT = "gateway.draft";
const CHOICES = "gateway.choices";

let ids = 0;

/** A name within this page. (Pages that are not served over https have no `crypto.randomUUID`.) */
export const newId = () => `id-${(ids += 1)}`;

/** What a model lets people choose, and the offer's list of it. */
export const FIELDS = { size: "sizes", quality: "qualities", resolution: "resolutions" };

/**
 * `model` and what may be chosen of it are null until somebody chooses; "" is the choice to leave it to the model.
 * `more`: other fields of an order that is used again.
 */
const EMPTY = { model: null, prompt: "", size: null, quality: null, resolution: null, n: 1, more: {} };

const choicesOf = ({ model, size, quality, resolution }) => ({ model, size, quality, resolution });

const isText = (value) => typeof value === "string";
const isChoice = (value) => value === null || isText(value);
const KINDS = {
  model: isChoice, prompt: isText, size: isChoice, quality: isChoice, resolution: isChoice,
  n: (value) => Number.isInteger(value) && value > 0,
  more: (value) => value !== null && typeof value === "object" && !Array.isArray(value),
};

/** What was kept of a form, as far as it is what this page keeps: another version of it may have written it. */
const sound = (kept) => Object.fromEntries(Object.entries(kept ?? {}).filter(([name, value]) => KINDS[name]?.(value)));

/** What was last chosen in this browser, perhaps by another team. */
const lastChoices = () => choicesOf({ ...EMPTY, ...sound(readJson(browser, CHOICES, {})) });

/** The form: as it was left in this tab, else with what was last chosen. */
const begun = () => ({ ...EMPTY, ...lastChoices(), model: null });
const left = readJson(tab, DRAFT, {});
export const draft = signal({ ...begun(), ...sound(left.form) });

/** Reference pictures: [{id, name, preview, state: "sending" | "there" | "failed", url, error}]. */
export const references = signal((Array.isArray(left.links) ? left.links : []).filter(isText).map(linked));

export const change = (part) => (draft.value = { ...draft.value, ...part });

/** A choice that a person made: it is there again the next time. */
export function choose(part) {
  change(part);
  browser.set(CHOICES, JSON.stringify({ ...choicesOf(draft.value), model: model.value?.id }));
}

/** The models of the team, and the one that is chosen. */
export const models = computed(() => summaries.team.value?.models ?? []);
export const model = computed(() => named(draft.value.model) ?? named(lastChoices().model) ?? models.value[0] ?? null);
const named = (id) => models.value.find((one) => one.id === id);

/** The values of the model's fields: what was chosen where it is offered, else what a form begins with. */
export const settings = computed(() => {
  const offer = model.value;
  if (!offer) return {};
  return Object.fromEntries(Object.keys(FIELDS).map((name) => [name, valueOf(offer, name, draft.value[name])]));
});

function valueOf(offer, name, wish) {
  const values = offer[FIELDS[name]];
  const begins = offer.beginning[name] ?? "";
  if (name === "resolution" && values === null) return begins;
  if (typeof wish !== "string" || (wish === "" && !offer.automatic.includes(name))) return begins;
  return wish === "" || values === null || values.includes(wish) ? wish : begins;
}

/** The body of the order, or null while there is none to send. */
export const body = computed(() => {
  const { prompt, n, more } = draft.value;
  const offer = model.value;
  if (!offer || !prompt.trim() || references.value.some((one) => one.state === "sending")) return null;
  const links = references.value.filter((one) => one.url).map((one) => one.url);
  const said = Object.entries(settings.value).filter(([, value]) => value !== "");
  return {
    ...more,
    model: offer.id,
    prompt,
    ...Object.fromEntries(said),
    ...(n > 1 && { n: Math.min(n, offer.max_n) }),
    ...(links.length && { image_urls: links }),
  };
});

/** Puts an order back into the form, with all it said; its references stay where they are, as links. */
export function use({ model: name, prompt, size = "", quality = "", resolution = "", n = 1, image_urls: links = [], ...more }) {
  if (resolution && !named(name)?.resolutions) more.resolution = resolution;
  draft.value = { model: name, prompt, size, quality, resolution, n, more };
  clearReferences();
  references.value = links.filter(isText).map(linked);
}

function linked(url) {
  return { id: newId(), name: url.split("/").pop(), preview: pictureUrl(url), state: "there", url };
}

/** Takes a picture that is there already as a reference. → what was wrong, or "". */
export async function useAsReference(url, name) {
  const answer = await fetch(pictureUrl(url)).catch(() => null);
  if (!answer?.ok) return "The picture could not be read.";
  const blob = await answer.blob();
  return addFiles([new File([blob], name, { type: blob.type })]);
}

// What was typed outlives a reload of the tab.
effect(() => {
  if (!has.team.value) return tab.drop(DRAFT);
  const links = references.value.filter((one) => one.url).map((one) => one.url);
  tab.set(DRAFT, JSON.stringify({ form: draft.value, links }));
});

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
  if (one.preview?.startsWith("blob:")) URL.revokeObjectURL(one.preview);
}

async function sendFile(file) {
  const one = { id: newId(), name: file.name, preview: URL.createObjectURL(file), state: "sending", abort: new AbortController() };
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
  draft.value = begun();
  clearReferences();
});
