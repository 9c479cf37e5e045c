// One field of a form, made from the schema of one parameter: the control, its hint, and its message.

import { h, show } from "../dom.js";
import { sentence } from "../words.js";

const EXAMPLES = { duration: "such as 8h or 1d12h", size: "such as 16GiB", path: "a path" };

function control(id, schema) {
  const common = { id, name: id };
  if (schema.enum) {
    const options = schema.enum.map((choice) => h("option", { value: choice }, choice));
    const none = schema.default === undefined ? [h("option", { value: "" }, "—")] : [];
    return h("select", common, none, options);
  }
  if (schema.type === "boolean") return h("input", { ...common, type: "checkbox" });
  if (schema.type === "integer" || schema.type === "number") {
    return h("input", {
      ...common,
      type: "number",
      inputmode: schema.type === "integer" ? "numeric" : "decimal",
      min: schema.minimum,
      max: schema.maximum,
      step: schema.type === "integer" ? 1 : "any",
    });
  }
  return h("input", {
    ...common,
    type: schema.writeOnly ? "password" : "text",
    maxlength: schema.maxLength,
    autocomplete: schema.writeOnly ? "new-password" : "off",
    autocapitalize: "none",
  });
}

// What a value has to be, when the browser says that it is not.
function complaint(input, schema, required) {
  const { validity } = input;
  if (validity.badInput) return "This has to be a number.";
  if (validity.stepMismatch) return "This has to be a whole number.";
  if (validity.rangeUnderflow) return `At least ${schema.minimum}.`;
  if (validity.rangeOverflow) return `At most ${schema.maximum}.`;
  if (required && input.value === "") return "This is needed.";
  if (schema.pattern && input.value !== "" && !fits(schema.pattern, input.value)) {
    return `This has to look like ${schema.pattern.replace(/^\^\(\?:(.*)\)\$$/, "$1")}`;
  }
  return "";
}

function fits(pattern, value) {
  try {
    return new RegExp(pattern, "u").test(value);
  } catch {
    // A pattern that only the launcher can read: it will say.
    return true;
  }
}

// The field: { element, input, secret, value(), check(), fail(message), offer(choices) }.
export function field(name, schema, required) {
  const id = `field-${name}`;
  const input = control(id, schema);
  const switchable = schema.type === "boolean";
  if (schema.default !== undefined) {
    if (switchable) input.checked = schema.default === true;
    else input.value = String(schema.default);
  }
  const limits = [
    EXAMPLES[schema["x-kind"]],
    (schema["x-min"] ?? schema.minimum) !== undefined && `from ${schema["x-min"] ?? schema.minimum}`,
    (schema["x-max"] ?? schema.maximum) !== undefined && `up to ${schema["x-max"] ?? schema.maximum}`,
  ].filter(Boolean);
  const help = [schema.description && sentence(schema.description), limits.length > 0 && sentence(limits.join(", "))].filter(Boolean).join(" ");
  const hint = h("p", { class: "hint", id: `${id}-hint`, hidden: !help }, help);
  const message = h("p", { class: "field-error", id: `${id}-error` });
  const list = h("datalist", { id: `${id}-choices` });
  input.setAttribute("aria-describedby", `${id}-hint ${id}-error`);
  if (required && !switchable) input.setAttribute("aria-required", "true");
  const title = [schema.title || name, required && !schema.enum && !switchable && schema.default === undefined && h("span", { class: "needed" }, " (needed)")];
  const element = switchable
    ? h("div", { class: "field check" }, h("label", {}, input, " ", title), hint, message)
    : h("div", { class: "field" }, h("label", { for: id }, title), input, list, hint, message);

  const fail = (text) => {
    message.textContent = text;
    if (text) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  };
  const check = () => {
    const text = complaint(input, schema, required && !switchable);
    fail(text);
    return text === "";
  };
  input.addEventListener("change", check);

  const value = () => {
    if (switchable) return input.checked === (schema.default ?? false) && schema.default === undefined ? undefined : input.checked;
    if (input.value === "") return undefined;
    return input.type === "number" ? Number(input.value) : input.value;
  };
  // Choices of the moment are offered, not imposed: the launcher decides.
  const offer = (choices) => {
    if (schema.enum || switchable || schema.writeOnly) return;
    const all = (choices || []).map((choice) => (typeof choice === "object" ? choice : { value: choice }));
    show(list, all.map((choice) => h("option", { value: choice.value, label: choice.label || choice.title || null })));
    if (all.length > 0) input.setAttribute("list", list.id);
    else input.removeAttribute("list");
  };
  return { element, input, secret: Boolean(schema.writeOnly), value, check, fail, offer };
}
