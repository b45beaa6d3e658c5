// Light or dark: as the system says, unless the reader has chosen. The choice stays in this browser.

import { effect, signal } from "./vendor/preact.js";
import { browser } from "./storage.js";

const NAME = "gateway.theme";
const system = matchMedia("(prefers-color-scheme: dark)");
const systemDark = signal(system.matches);
const chosen = signal(browser.get(NAME));

system.addEventListener("change", () => (systemDark.value = system.matches));

/** "light" or "dark", as it is shown now. Read it to be called again when colours change. */
export const shownTheme = () => chosen.value ?? (systemDark.value ? "dark" : "light");

export function switchTheme() {
  chosen.value = shownTheme() === "dark" ? "light" : "dark";
  browser.set(NAME, chosen.value);
}

effect(() => {
  if (chosen.value) document.documentElement.dataset.theme = chosen.value;
});
