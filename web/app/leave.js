// The way out by keyboard of what takes every key itself, the tab key too: a terminal, a desktop.

import { h } from "./dom.js";

const KEYS = "Ctrl-Alt-.";

// Lets those keys lead from the place to the tabs above it. A description of that for whoever cannot see it is returned,
// to be put beside it, and named where the keys go in.
export function leave(place, id) {
  place.addEventListener(
    "keydown",
    (event) => {
      if (!event.ctrlKey || !event.altKey || event.code !== "Period") return;
      event.preventDefault();
      event.stopPropagation();
      document.querySelector("main .tabs [aria-current]")?.focus();
    },
    true,
  );
  return h("p", { class: "unseen", id }, `${KEYS} leads out of it, to the tabs.`);
}
