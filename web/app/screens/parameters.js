// A session's parameters: the start's, and custom ones that its owner sets while it lives.

import { get, patch, session as at } from "../api.js";
import { action, h, show as renew } from "../dom.js";
import { notify, tell } from "../notice.js";

// What a person typed: JSON where it is some, else the text itself.
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value));

export function show(body, scene) {
  const own = scene.access.own && scene.session.state !== "ended";
  const table = h("table", { class: "values" });
  const empty = h("p", { class: "empty", hidden: true }, "There are no parameters.");
  let rev = null;
  let seen = null;

  const change = async (name, value) => {
    try {
      await patch(at(scene.id, "/params"), { [name]: value }, rev);
      notify(value === null ? `${name} is removed` : `${name} is set`);
    } catch (problem) {
      if (problem.code === "rev_conflict") notify("Somebody else changed the parameters meanwhile", { hint: "Look again, and set it once more" });
      else throw problem;
    } finally {
      await read();
    }
  };
  const row = (name, value) => {
    const input = h("input", { type: "text", value: shown(value), "aria-label": `Value of ${name}`, readonly: !own, spellcheck: "false", data: { key: `value-${name}` } });
    const save = action("Set", { class: "small", data: { key: `set-${name}` } }, () => change(name, parsed(input.value)), tell);
    const drop = action("Remove", { class: "small", data: { key: `remove-${name}` } }, () => change(name, null), tell);
    input.addEventListener("keydown", (event) => event.key === "Enter" && save.click());
    return h("tr", {}, h("th", { scope: "row" }, h("code", {}, name)), h("td", {}, input), own && h("td", { class: "actions" }, save, drop));
  };
  const read = async () => {
    const answer = await get(at(scene.id, "/params"));
    rev = answer.params_rev;
    seen = rev;
    const names = Object.keys(answer.params).sort();
    renew(table, h("tbody", {}, names.map((name) => row(name, answer.params[name]))));
    empty.hidden = names.length > 0;
    table.hidden = names.length === 0;
  };
  body.append(table, empty);
  if (own) {
    const name = h("input", { type: "text", id: "new-name", pattern: "[a-z][a-z0-9_]{0,62}", autocapitalize: "none", spellcheck: "false" });
    const value = h("input", { type: "text", id: "new-value", spellcheck: "false" });
    const error = h("p", { class: "field-error", role: "alert" });
    const form = h(
      "form",
      { class: "line", novalidate: true },
      h("div", { class: "field" }, h("label", { for: "new-name" }, "New parameter"), name),
      h("div", { class: "field" }, h("label", { for: "new-value" }, "Value"), value),
      h("button", { type: "submit" }, "Add"),
    );
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      error.textContent = name.value && name.validity.valid ? "" : "A name is lower-case letters, digits and _, and begins with a letter.";
      if (error.textContent) return name.focus();
      try {
        await change(name.value, parsed(value.value));
        form.reset();
        name.focus();
      } catch (problem) {
        error.textContent = problem.message;
      }
    });
    body.append(form, error, h("p", { class: "hint" }, "The session's own programs are told of changes. Values are JSON where they can be read as such, else text."));
  }
  read().catch(tell);
  return {
    again: () => seen === null && read().catch(() => {}),
    update: () => {
      if (seen !== null && scene.session.params_rev > seen && !body.contains(document.activeElement)) read().catch(() => {});
    },
  };
}
