// Running a command inside a session: its words, its output, how it ended.

import { post, session as at } from "../api.js";
import { draft } from "../draft.js";
import { h, show as renew } from "../dom.js";
import { command, sentence, split } from "../words.js";
import { field } from "./field.js";

const decoded = (text, encoding) => (encoding === "base64" ? new TextDecoder().decode(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))) : text);

function result(words, answer) {
  const good = answer.exit_code === 0;
  const how = answer.exit_code === null ? `Ended by signal ${answer.signal}` : `Exit code ${answer.exit_code}`;
  const stdout = decoded(answer.stdout, answer.encoding);
  const stderr = decoded(answer.stderr, answer.encoding);
  return h(
    "li",
    {},
    h("p", { class: "ran" }, h("code", {}, command(words)), " ", h("span", { class: `badge ${good ? "good" : "bad"}` }, how)),
    stdout && h("pre", { class: "logs wrap", role: "region", tabindex: "0", "aria-label": "Standard output" }, stdout),
    stderr && h("pre", { class: "logs wrap error", role: "region", tabindex: "0", "aria-label": "Standard error" }, stderr),
    !stdout && !stderr && h("p", { class: "quiet" }, "It printed nothing."),
    answer.truncated && h("p", { class: "quiet" }, "More than 1 MiB was printed; the rest is left out."),
  );
}

export function show(body, scene) {
  const words = field("argv", { type: "string", title: "Command", description: "Runs beside the session's own. Quotes keep words together; nothing is expanded. For pipes: sh -c 'a | b'" }, true);
  const cwd = field("cwd", { type: "string", title: "Directory", description: "Left out, it is the session's own." }, false);
  const results = h("ol", { class: "results", reversed: true, "aria-live": "polite" });
  const start = h("button", { type: "submit", class: "primary" }, "Run");
  const stop = h("button", { type: "button", hidden: true }, "Stop");
  words.input.setAttribute("spellcheck", "false");
  let running = null;
  const form = h("form", { class: "run", novalidate: true }, words.element, h("details", {}, h("summary", {}, "More"), cwd.element), h("div", { class: "actions" }, start, stop));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (running || !words.check()) return;
    const argv = split(words.value());
    if (!argv?.length) return words.fail("A quote is left open.");
    running = new AbortController();
    start.ariaDisabled = "true";
    stop.hidden = false;
    try {
      const request = { argv, ...(cwd.value() === undefined ? {} : { cwd: cwd.value() }) };
      results.prepend(result(argv, await post(at(scene.id, "/exec"), request, { signal: running.signal })));
      words.input.select();
    } catch (problem) {
      if (problem.name === "AbortError") results.prepend(h("li", {}, h("p", { class: "ran" }, h("code", {}, command(argv)), " stopped")));
      else if (problem.errors?.length) problem.errors.forEach(({ field: name, message }) => (name === "cwd" ? cwd : words).fail(sentence(message)));
      else renew(results, h("li", { role: "alert" }, h("p", { class: "field-error" }, sentence(problem.message), " ", problem.hint && sentence(problem.hint))), [...results.childNodes]);
    } finally {
      running = null;
      start.ariaDisabled = "false";
      stop.hidden = true;
    }
  });
  stop.addEventListener("click", () => running?.abort());
  body.append(form, results);
  draft(form, `run ${scene.viewer.user} ${scene.id}`);
  words.input.focus();
  return { stop: () => running?.abort() };
}
