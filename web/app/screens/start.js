// Starting a session: a template is chosen, and its parameters' schema becomes a form.

import { all, get, key, post } from "../api.js";
import { draft } from "../draft.js";
import { h, show as renew } from "../dom.js";
import { live } from "../live.js";
import { command, sentence, split } from "../words.js";
import { field } from "./field.js";

const PAUSE = 400;

export function show(main, parts, viewer) {
  if (viewer.scope !== "full") {
    main.append(
      h("h1", {}, "Start a session"),
      h("div", { class: "empty", role: "alert" }, h("p", {}, viewer.scope === "read" ? "Your sign-in only reads: it starts nothing." : "Guests enter what is shared with them, and start nothing."), h("a", { class: "button", href: "#/" }, "All sessions")),
    );
    return {};
  }
  const name = parts[1];
  let stopped = false;
  let lost = false;
  const read = async () => {
    live.removeEventListener("change", again);
    try {
      await (name ? form(main, name, viewer, () => stopped) : choose(main, () => stopped));
    } catch (problem) {
      if (stopped || problem.status === 401) return;
      const missing = problem.status === 404;
      main.replaceChildren(
        h("h1", {}, "Start a session"),
        h("div", { class: "empty", role: "alert" }, h("p", {}, missing ? "There is no such template." : sentence(problem.message)), name && h("a", { class: "button", href: "#/start" }, "All templates")),
      );
      if (!missing) live.addEventListener("change", again);
    }
  };
  // What could not be read while the launcher was away is read when it is back.
  const again = () => {
    if (live.state === "lost") lost = true;
    else if (lost && live.state === "live") read();
  };
  read();
  return {
    stop: () => {
      stopped = true;
      live.removeEventListener("change", again);
    },
  };
}

async function choose(main, isStopped) {
  const cards = h("ul", { class: "cards" });
  const hint = h("p", { class: "quiet" }, "Reading…");
  main.replaceChildren(h("div", { class: "heading" }, h("h1", {}, "Start a session")), hint, cards);
  const [templates, backends] = await Promise.all([all("/templates"), all("/backends").catch(() => [])]);
  const usable = (template) => ["ok", "stale"].includes(template.state);
  const down = new Map(backends.filter((one) => one.healthy === false).flatMap((one) => one.templates.map((name) => [name, one.name])));
  const last = (template) => (usable(template) ? (down.has(template.name) ? 1 : 0) : 2);
  if (isStopped()) return;
  hint.textContent = templates.length > 0 ? "What shall it be?" : "There are no templates.";
  renew(
    cards,
    templates.sort((a, b) => last(a) - last(b)).map((template) => {
      const body = [
        h("span", { class: "title" }, template.title),
        h("span", { class: "quiet" }, template.name, template.scheduler && template.scheduler !== template.name && ` · ${template.scheduler}`),
        template.description && h("span", { class: "described" }, template.description),
        usable(template) && down.has(template.name) && h("span", { class: "soon" }, sentence(`${down.get(template.name)} does not answer now`)),
        !usable(template) && h("span", { class: "why" }, sentence(template.message || `This template is ${template.state}`)),
      ];
      return h("li", {}, usable(template) ? h("a", { class: "card", href: `#/start/${template.name}` }, body) : h("div", { class: "card off" }, body));
    }),
  );
}

async function form(main, name, viewer, isStopped) {
  const heading = h("h1", {}, name);
  main.replaceChildren(h("p", { class: "crumb" }, h("a", { href: "#/start" }, "All templates")), heading);
  const template = await get(`/templates/${encodeURIComponent(name)}`);
  if (isStopped()) return;
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

  // Forms of other users of this browser are none of this one's business.
  const unsent = draft(element, `start ${viewer.user} ${name}`);
  run.input.dispatchEvent(new Event("input"));

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
      unsent.forget();
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
  if (problem.errors.length === 0) rest.push(problem.message, problem.status === 0 ? "What you have filled in stays. Press again when it is back: one session is started, however often" : problem.hint);
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
