// What the page says beside what it shows: notices that go away, and dialogues that wait for an answer.

import { h } from "./dom.js";
import { sentence } from "./words.js";

const SHOWN = 6000;

// A short notice. `alert` for what went wrong.
export function notify(text, { alert = false, hint = "" } = {}) {
  const place = document.getElementById("notices");
  const close = () => notice.remove();
  const notice = h(
    "div",
    { class: alert ? "notice bad" : "notice", role: alert ? "alert" : "status" },
    h("div", {}, h("p", {}, text), hint && h("p", { class: "quiet" }, sentence(hint))),
    h("button", { type: "button", class: "plain", "aria-label": "Close this notice", on: { click: close } }, "×"),
  );
  place.append(notice);
  if (!alert) setTimeout(close, SHOWN);
}

// Tells what went wrong.
export function tell(problem) {
  if (problem.name === "AbortError") return;
  notify(sentence(problem.message), { alert: true, hint: problem.hint });
}

let count = 0;

// A dialogue with a title. `fill(close)` gives its content. Escape closes it; focus goes back to where it was.
export function dialog(title, fill, { wide = false } = {}) {
  count += 1;
  const id = `dialog-${count}`;
  const element = h("dialog", { class: wide ? "wide" : "", "aria-labelledby": id });
  const close = () => element.close();
  element.append(
    h(
      "header",
      {},
      h("h2", { id }, title),
      h("button", { type: "button", class: "plain", "aria-label": "Close", on: { click: close } }, "×"),
    ),
    h("div", { class: "content" }, fill(close, element)),
  );
  element.addEventListener("close", () => element.remove());
  // A press beside it closes it, as people expect.
  element.addEventListener("mousedown", (event) => event.target === element && close());
  document.body.append(element);
  element.showModal();
  return element;
}

// Copies a text and says so.
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    notify(`${what} copied`);
  } catch {
    notify("The browser does not allow copying here", { hint: "Select the text and copy it yourself" });
  }
}
