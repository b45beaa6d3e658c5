// The frame around every page: who is here, where one can go, and the page itself.

import { html, render, useEffect, useRef, useState } from "./vendor/preact.js";
import { get, signIn } from "./api.js";
import { go, link, route } from "./router.js";
import { ROLES, forget, has, keyOf, notice, summaries, zone } from "./session.js";
import { shownTheme, switchTheme } from "./theme.js";
import { Button, Dialog, ErrorBox, Field, Icon, Loading, PageHead, Toasts } from "./ui.js";

/**
 * Every page: its name in the address and in `pages/`, its role's key, and how it is shown. `over`: what is behind its
 * name in the address is shown above the page, which stays as it is.
 */
const PAGES = [
  { name: "playground", role: "team", title: "Playground", icon: "sparkles" },
  { name: "gallery", role: "team", title: "Gallery", icon: "images", over: true },
  { name: "mine", role: "team", title: "Usage", icon: "chart-column" },
  { name: "teams", role: "admin", title: "Teams", icon: "users" },
  { name: "usage", role: "admin", title: "Spend", icon: "chart-column-stacked" },
  { name: "runs", role: "admin", title: "Runs", icon: "list" },
  { name: "health", role: "admin", title: "Health", icon: "activity" },
];
const ASK_AGAIN_MS = 3000;
const SIDES = { team: "Team", admin: "Platform" };

function App() {
  const [asking, setAsking] = useState(false);
  const held = Object.keys(ROLES).filter((role) => has[role].value);
  const asked = PAGES.find((page) => page.name === route.value.page);
  const page = asked ?? PAGES.find((one) => has[one.role].value);
  useSummaries();
  if (!held.length || !page) return html`<${Welcome} wanted=${asked?.role} /><${Toasts} />`;
  return html`
    <a class="skip" href="#content" onClick=${skip}>To the content</a>
    <div class="frame">
      <${Header} held=${held} side=${page.role} onKeys=${() => setAsking(true)} />
      <${Navigation} held=${held} page=${page} />
      <main id="content" tabindex="-1" data-page=${page.name}>
        ${has[page.role].value
          ? html`<${Page} key=${page.name} page=${page} />`
          : html`<${Locked} page=${page} onKeys=${() => setAsking(true)} />`}
      </main>
      <footer class="foot">All times and days: ${zone.value}</footer>
    </div>
    ${asking && html`<${Keys} onClose=${() => setAsking(false)} />`}
    <${Toasts} />`;
}

/** What the gateway says of each key: asked when a tab is opened anew with keys in it, until it answers. */
function useSummaries() {
  for (const role of Object.keys(ROLES)) {
    const held = has[role].value;
    useEffect(() => {
      if (!held || summaries[role].value) return undefined;
      const abort = new AbortController();
      const ask = () => abort.signal.aborted || get(role, ROLES[role].summary, {}, { signal: abort.signal }).then(
        (body) => (summaries[role].value = body),
        () => setTimeout(ask, ASK_AGAIN_MS),
      );
      ask();
      return () => abort.abort();
    }, [held]);
  }
}

function Header({ held, side, onKeys }) {
  const name = summaries.team.value?.team;
  return html`<header class="header">
    <a class="brand" href=${link(PAGES.find((one) => one.role === side).name)}><${Icon} name="aperture" /> <span>Image Gateway</span></a>
    ${held.length > 1 && html`<nav class="sides" aria-label="Sides">
      ${held.map((role) => html`<a key=${role} href=${link(PAGES.find((one) => one.role === role).name)}
        aria-current=${role === side ? "true" : undefined}>${SIDES[role]}</a>`)}</nav>`}
    <div class="header-tools">
      <button type="button" class="button who" data-kind="quiet" onClick=${onKeys}>
        <${Icon} name="key-round" /><span class="unseen">Keys of </span><span>${side === "team" && has.team.value ? (name ?? "Team") : "Operator"}</span></button>
      <${ThemeButton} />
    </div>
  </header>`;
}

function ThemeButton() {
  const other = shownTheme() === "dark" ? "light" : "dark";
  return html`<${Button} kind="quiet" icon=${other === "dark" ? "moon" : "sun"} aria-label=${`Use the ${other} theme`} onClick=${switchTheme} />`;
}

function Navigation({ held, page }) {
  return html`<nav class="nav" aria-label="Pages">
    ${held.map((role) => html`<section key=${role} data-active=${role === page.role ? "" : undefined}>
      <h2 class="nav-side">${SIDES[role]}</h2>
      <ul>${PAGES.filter((one) => one.role === role).map((one) => html`<li key=${one.name}>
        <a href=${link(one.name)} aria-current=${one === page ? "page" : undefined}>
          <${Icon} name=${one.icon} /><span>${one.title}</span></a></li>`)}</ul>
    </section>`)}
  </nav>`;
}

/** Loads the page's module when it is first opened. */
function Page({ page }) {
  const [state, setState] = useState({});
  const { rest, query } = route.value;
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    import(`./pages/${page.name}.js`).then(
      (module) => setState({ component: module.default }),
      () => setState({ error: new Error("This page could not be loaded. Check the connection.") }),
    );
  }, [turn]);
  useFocus(state.component, page.over ? "" : rest.join("/"));
  if (state.error) return html`<${ErrorBox} error=${state.error} retry=${() => (setState({}), setTurn(turn + 1))} />`;
  if (!state.component) return html`<${Loading} />`;
  return html`<${state.component} rest=${rest} query=${query} />`;
}

/** A new page begins at its top, and there a screen reader goes on. */
function useFocus(component, rest) {
  const first = useRef(true);
  useEffect(() => {
    if (!component) return;
    scrollTo(0, 0);
    if (!first.current || document.activeElement?.closest(".nav")) {
      document.querySelector("main h1")?.focus({ preventScroll: true });
    }
    first.current = false;
  }, [component, rest]);
}

function skip(event) {
  event.preventDefault();
  document.getElementById("content").focus();
}

function Locked({ page, onKeys }) {
  const { name } = ROLES[page.role];
  return html`<${PageHead} title=${page.title}>This page needs ${page.role === "admin" ? "an" : "a"} ${name}.<//>
    <${Button} kind="primary" icon="key-round" onClick=${onKeys}>Enter ${page.role === "admin" ? "an" : "a"} ${name}<//>`;
}

// --- keys --------------------------------------------------------------------------------------

function Welcome({ wanted }) {
  return html`<main class="welcome" id="content">
    <div class="welcome-box">
      <header><p class="brand"><${Icon} name="aperture" /> <span>Image Gateway</span></p><${ThemeButton} /></header>
      <${PageHead} title="Welcome">
        Your team makes pictures here within its budget, and never pays for the same one twice.
        Enter your team's key to try a prompt and see your pictures, or an admin key to look after teams, spend and health.
      <//>
      ${notice.value && html`<${ErrorBox} error=${new Error(notice.value)} />`}
      <${KeyForm} first=${wanted ?? "team"} />
      <p class="hint">A key stays in this browser tab, and is gone when the tab is closed.</p>
    </div>
  </main>`;
}

/** Both keys at once, or one of them. */
function KeyForm({ first, only, onDone }) {
  const [values, setValues] = useState({ team: "", admin: "" });
  const [errors, setErrors] = useState({});
  const [busy, setBusy] = useState(false);
  const roles = only ? [only] : Object.keys(ROLES);
  const submit = async (event) => {
    event.preventDefault();
    const given = roles.filter((role) => values[role].trim());
    if (!given.length) return setErrors({ [roles[0]]: `Enter a ${only ? ROLES[only].name : "key"}.` });
    setBusy(true);
    const found = {};
    for (const role of given) {
      await signIn(role, values[role].trim()).catch((error) => (found[role] = error.message));
    }
    setErrors(found);
    setBusy(false);
    if (!Object.keys(found).length) onDone?.(given);
  };
  return html`<form class="stack" onSubmit=${submit} novalidate>
    ${roles.map((role) => html`<${Field} key=${role} label=${only || role === "team" ? title(ROLES[role].name) : "Admin key, for operators"} error=${errors[role]}>
      ${(a) => html`<input ...${a} type="password" class="mono" autocomplete="off" spellcheck="false" autofocus=${role === first}
        value=${values[role]} onInput=${(e) => setValues({ ...values, [role]: e.target.value })} />`}
    <//>`)}
    <${Button} kind="primary" type="submit" busy=${busy} icon="arrow-right">Open<//>
  </form>`;
}

/** The keys of this tab: leave with one, add the other. */
function Keys({ onClose }) {
  const leave = (role) => {
    forget(role);
    onClose();
    if (PAGES.find((one) => one.name === route.value.page)?.role === role) go("");
  };
  return html`<${Dialog} title="Keys of this tab" onClose=${onClose}>
    <div class="stack">${Object.keys(ROLES).map((role) => html`<section key=${role} class="key-part">
      <h3>${title(ROLES[role].name)}</h3>
      ${has[role].value
        ? html`<div class="row"><span class="mono">${masked(keyOf(role))}</span><span class="muted">${role === "team" ? summaries.team.value?.team : ""}</span>
            <${Button} icon="log-out" onClick=${() => leave(role)}>Sign out<//></div>`
        : html`<${KeyForm} only=${role} onDone=${onClose} />`}
    </section>`)}</div>
  <//>`;
}

const title = (text) => text[0].toUpperCase() + text.slice(1);
/** What may be seen of a key: its public part, or its first letters. */
const masked = (key) => `${/^igw_[^_]+_/.exec(key)?.[0] ?? key.slice(0, 4)}…`;

render(html`<${App} />`, document.getElementById("app"));
