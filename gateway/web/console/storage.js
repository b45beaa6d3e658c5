// What the browser remembers: in this tab until it is closed, or for good. A browser that lets no page
// keep anything is no reason to stop: then it is remembered until the page is left.

/** One place to remember texts by name. `area`: "sessionStorage" or "localStorage". */
function place(area) {
  const spare = new Map();
  const tried = (act, otherwise) => {
    try {
      return act(window[area]);
    } catch {
      return otherwise();
    }
  };
  return {
    get: (name) => tried((store) => store.getItem(name), () => null) ?? spare.get(name) ?? null,
    set: (name, text) => tried((store) => store.setItem(name, text), () => {
      spare.set(name, text);
      tried((store) => store.removeItem(name), () => {}); // it may be full: then no older text either
    }),
    drop: (name) => {
      spare.delete(name);
      tried((store) => store.removeItem(name), () => {});
    },
  };
}

/** Gone when the tab is closed. */
export const tab = place("sessionStorage");

/** Stays in this browser. Never for keys. */
export const browser = place("localStorage");

/** A value that was kept as JSON, or `otherwise` where there is none or it is not right. */
export function readJson(store, name, otherwise) {
  try {
    const found = JSON.parse(store.get(name));
    return found && typeof found === "object" ? found : otherwise;
  } catch {
    return otherwise;
  }
}
