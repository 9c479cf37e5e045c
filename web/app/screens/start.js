// Starting a session: a template is chosen, and its parameters' schema becomes a form.

import { all, get, key, post } from "../api.js";
import { h, show as renew } from "../dom.js";
import { live } from "../live.js";
import { tell } from "../notice.js";
import { command, sentence, split } from "../words.js";
import { field } from "./field.js";

const PAUSE = 400;

export function show(main, parts) {
  const name = parts[1];
  if (name) form(main, name);
  else choose(main);
}

async function choose(main) {
  const cards = h("ul", { class: "cards" });
  main.append(h("div", { class: "heading" }, h("h1", {}, "Start a session")), h("p", { class: "quiet" }, "What shall it be?"), cards);
  try {
    const templates = await all("/templates");
    renew(
      cards,
      templates.map((template) => {
        const usable = ["ok", "stale"].includes(template.state);
        const body = [
          h("span", { class: "title" }, template.title),
          h("span", { class: "quiet" }, template.name, template.scheduler && ` · ${template.scheduler}`),
          !usable && h("span", { class: "why" }, sentence(template.message || `This template is ${template.state}`)),
        ];
        return h("li", {}, usable ? h("a", { class: "card", href: `#/start/${template.name}` }, body) : h("div", { class: "card off" }, body));
      }),
    );
  } catch (problem) {
    tell(problem);
  }
}

async function form(main, name) {
  const heading = h("h1", {}, name);
  main.append(h("p", { class: "crumb" }, h("a", { href: "#/start" }, "All templates")), heading);
  let template;
  try {
    template = await get(`/templates/${encodeURIComponent(name)}`);
  } catch (problem) {
    return tell(problem);
  }
  heading.textContent = template.title;
  const properties = Object.entries(template.schema?.properties || {});
  const required = template.schema?.required || [];
  const fields = new Map(properties.map(([id, schema]) => [id, field(id, schema, required.includes(id))]));

  const label = field("name", { type: "string", title: "Name", description: "A label for you to find it by. Left out, it gets one.", maxLength: 128 }, false);
  const defaultWords = template.command?.default || [];
  const run = field("command", { type: "string", title: "Command", description: "Runs instead of the template's own. Quotes keep words together; nothing is expanded." }, defaultWords.length === 0);
  run.input.placeholder = command(defaultWords);
  run.input.setAttribute("spellcheck", "false");
  const words = h("p", { class: "words", "aria-live": "polite" });
  run.input.addEventListener("input", () => {
    const given = split(run.input.value);
    renew(words, given?.length > 1 && given.map((word) => h("code", {}, word || "\u00a0")));
  });
  const terminal = field("tty", { type: "string", title: "Terminal", enum: ["as the template says", "yes", "no"], default: "as the template says" }, true);

  const error = h("div", { class: "summary", role: "alert" });
  const submit = h("button", { type: "submit", class: "primary" }, "Start the session");
  const groups = new Map();
  for (const [id, schema] of properties) {
    const group = schema["x-group"] || "";
    groups.set(group, [...(groups.get(group) || []), fields.get(id).element]);
  }
  const element = h(
    "form",
    { class: "start", novalidate: true },
    template.description && h("p", { class: "quiet" }, template.description),
    label.element,
    [...groups].map(([group, members]) => (group ? h("fieldset", {}, h("legend", {}, group), members) : members)),
    template.command?.override !== false && [run.element, words],
    h("details", {}, h("summary", {}, "More"), terminal.element),
    error,
    h("div", { class: "actions" }, submit, h("a", { class: "button", href: "#/start" }, "Back")),
  );
  main.append(element);
  label.input.focus();

  const every = new Map([...fields].map(([id, one]) => [`params.${id}`, one]));
  every.set("name", label).set("command", run).set("tty", terminal);

  // One key for one filled-in form: pressed twice, or sent again after a lost answer, it is one session.
  let sent = null;
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (submit.ariaDisabled === "true") return;
    renew(error);
    const bad = [...every.values()].filter((one) => !one.check());
    if (bad.length > 0) return bad[0].input.focus();
    const request = { template: name, params: {} };
    for (const [id, one] of fields) if (one.value() !== undefined) request.params[id] = one.value();
    if (label.value() !== undefined) request.name = label.value();
    if (run.value() !== undefined) {
      const given = split(run.value());
      if (!given?.length) return run.fail("A quote is left open.");
      request.command = given;
    }
    if (terminal.value() === "yes" || terminal.value() === "no") request.tty = terminal.value() === "yes";
    const text = JSON.stringify(request);
    if (sent?.text !== text) sent = { text, key: key() };
    submit.ariaDisabled = "true";
    submit.textContent = "Starting…";
    try {
      const session = await post("/sessions", request, { headers: { "Idempotency-Key": sent.key } });
      live.put(session);
      location.hash = `#/s/${session.id}`;
    } catch (problem) {
      refuse(problem, every, error);
    } finally {
      submit.ariaDisabled = "false";
      submit.textContent = "Start the session";
    }
  });
  choices(name, fields, element);
}

// Each message at its field; what belongs to none above the button.
function refuse(problem, every, error) {
  const rest = [];
  let first = null;
  for (const { field: path, message } of problem.errors) {
    const one = every.get(path) || every.get(path?.split(/[.[]/).slice(0, 2).join(".")) || every.get(path?.split(/[.[]/)[0]);
    if (!one) rest.push(path ? `${path}: ${message}` : message);
    else {
      one.fail(sentence(message));
      first ||= one;
    }
  }
  if (problem.errors.length === 0) rest.push(problem.message, problem.hint);
  renew(error, rest.filter(Boolean).map((text) => h("p", {}, sentence(text))));
  first?.input.focus();
}

// What the template's options hook offers for what has been chosen so far.
function choices(name, fields, element) {
  let timer = 0;
  let asked = 0;
  const ask = async () => {
    const params = {};
    for (const [id, one] of fields) if (one.value() !== undefined && !one.secret) params[id] = one.value();
    const number = (asked += 1);
    try {
      const offered = await post(`/templates/${encodeURIComponent(name)}/options`, { params });
      if (number !== asked) return;
      for (const [id, one] of fields) one.offer(offered[id]);
    } catch {
      // Without choices the fields take what people know: the start says what is wrong with it.
    }
  };
  element.addEventListener("change", (event) => {
    if (![...fields.values()].some((one) => one.input === event.target)) return;
    clearTimeout(timer);
    timer = setTimeout(ask, PAUSE);
  });
  ask();
}
