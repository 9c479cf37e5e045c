// Builds and renews elements. Text only ever becomes text: there is no way from a value to markup here.

// One element. Properties: `class`, `data` (an object), `on` (listeners by event), anything else is an attribute;
// false, null and undefined leave an attribute out. Children: nodes, texts, arrays of them; false and null are left out.
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name === "data") {
      for (const [key, datum] of Object.entries(value)) if (datum != null) element.dataset[key] = datum;
    } else if (name === "class") {
      element.className = value;
    } else if (name === "value" && tag !== "option" && tag !== "li") {
      element.value = value;
    } else {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...nodes(children));
  return element;
}

function nodes(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
}

const SVG = "http://www.w3.org/2000/svg";

// One element of a drawing.
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...nodes(children));
  return element;
}

// Replaces what a container shows. What has not changed stays in place, and so does the keyboard's focus
// (by `data-key`): lists that change by themselves must not throw anybody out.
export function show(container, ...children) {
  const fresh = nodes(children);
  const old = [...container.childNodes];
  // What the viewer has opened or closed stays so.
  for (const one of fresh) {
    if (!(one instanceof Element)) continue;
    for (const part of one.querySelectorAll("details[data-key]")) {
      const before = container.querySelector(`details[data-key="${CSS.escape(part.dataset.key)}"]`);
      if (before) part.open = before.open;
    }
  }
  if (old.length === fresh.length && old.every((node, at) => node.isEqualNode(fresh[at]))) return;
  const focused = container.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const known = new Map(old.filter((node) => node.dataset?.key).map((node) => [node.dataset.key, node]));
  const kept = fresh.map((node) => {
    const before = node.dataset?.key && known.get(node.dataset.key);
    return before && before.isEqualNode(node) ? before : node;
  });
  container.replaceChildren(...kept);
  if (focused) container.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

// A button that runs something that takes time: it cannot be pressed twice, and what goes wrong is told.
export function action(label, properties, run, fail) {
  const button = h("button", { type: "button", ...properties }, label);
  button.addEventListener("click", async () => {
    if (button.ariaDisabled === "true") return;
    button.ariaDisabled = "true";
    try {
      await run(button);
    } catch (problem) {
      fail(problem);
    } finally {
      button.ariaDisabled = "false";
    }
  });
  return button;
}
