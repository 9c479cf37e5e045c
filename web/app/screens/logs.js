// What a session has printed, and goes on printing.

import { request, session as at } from "../api.js";
import { h } from "../dom.js";

const STREAMS = { all: "All output", stdout: "Standard output", stderr: "Standard error", hook: "Scheduler" };
// Most characters that are kept on the screen.
const MOST = 400_000;
const AGAIN = 2000;
// Colours and cursor movements of terminals: here only their text counts.
const CONTROLS = /\x1b(?:\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|\[[0-?]*[ -/]*[@-~]|[ -/]*[0-~])|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]/g;

export function show(body, scene) {
  const which = h("select", { id: "log-stream" }, Object.entries(STREAMS).map(([value, label]) => h("option", { value }, label)));
  const follow = h("input", { type: "checkbox", id: "log-follow" });
  follow.checked = scene.session.state !== "ended";
  const wrap = h("input", { type: "checkbox", id: "log-wrap" });
  const state = h("p", { class: "quiet", role: "status" });
  const text = h("pre", { class: "logs", role: "log", "aria-live": "off", tabindex: "0", "aria-label": "Logs" });
  body.append(
    h(
      "div",
      { class: "terminal-bar" },
      h("label", { for: "log-stream", class: "inline" }, "Show"),
      which,
      h("label", { class: "inline" }, follow, " Follow"),
      h("label", { class: "inline" }, wrap, " Wrap lines"),
      state,
    ),
    text,
  );
  let reading = null;
  let timer = 0;

  const add = (piece) => {
    const atEnd = text.scrollHeight - text.scrollTop - text.clientHeight < 40;
    text.append(piece);
    while (text.textContent.length > MOST && text.childNodes.length > 1) text.firstChild.remove();
    if (atEnd || !follow.checked) text.scrollTop = text.scrollHeight;
  };
  const read = async () => {
    reading?.abort();
    clearTimeout(timer);
    const mine = new AbortController();
    reading = mine;
    const query = new URLSearchParams({ stream: which.value, tail: "5000" });
    if (follow.checked && which.value !== "hook") query.set("follow", "true");
    try {
      const response = await request("GET", at(scene.id, `/logs?${query}`), { signal: mine.signal });
      // What was read stays in sight until it can be read anew.
      state.textContent = "";
      text.textContent = "";
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { done, value } = await reader.read();
        // An escape that is cut in two is kept for the next piece.
        const whole = rest + (value || "");
        const cut = done ? -1 : whole.lastIndexOf("\x1b");
        rest = cut >= 0 && whole.length - cut < 64 ? whole.slice(cut) : "";
        const piece = whole.slice(0, whole.length - rest.length).replace(/\r\n/g, "\n").replace(CONTROLS, "");
        if (piece) add(piece);
        if (done) break;
      }
      if (!text.textContent) state.textContent = which.value === "hook" ? "The scheduler says nothing." : "Nothing was printed.";
    } catch (problem) {
      if (mine.signal.aborted) return;
      const lasts = scene.session.state !== "ended" && follow.checked;
      state.textContent = lasts ? "The logs are interrupted. Trying again…" : problem.message;
      if (lasts && problem.status !== 403 && problem.status !== 404) timer = setTimeout(read, AGAIN);
    }
  };
  which.addEventListener("change", read);
  follow.addEventListener("change", read);
  wrap.addEventListener("change", () => text.classList.toggle("wrap", wrap.checked));
  read();
  return {
    stop: () => {
      clearTimeout(timer);
      reading?.abort();
    },
  };
}
