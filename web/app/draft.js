// What a person has typed into a form and not sent: kept with this entry of the browser's history, so that it outlives a
// reload and the end of a sign-in, is there again on the way back, and is nowhere that another page could read it.
// Secrets are not kept.

const PAUSE = 150;
// Browsers refuse large entries.
const MOST = 20_000;

const kept = (control) => control.id && !["password", "submit", "button", "hidden"].includes(control.type) && !control.readOnly;

// Gives a form what it had under that key, and keeps what it gets. Call `forget` once it was sent.
export function draft(form, key) {
  const name = `draft ${key}`;
  const controls = () => [...form.elements].filter(kept);
  const before = history.state?.[name] || {};
  for (const control of controls()) {
    if (!(control.id in before)) continue;
    if (typeof before[control.id] === "boolean") control.checked = before[control.id];
    else control.value = before[control.id];
  }
  const write = (values) => {
    try {
      history.replaceState({ ...history.state, [name]: values }, "");
    } catch {
      // The form works without.
    }
  };
  let timer = 0;
  const keep = () => {
    timer = 0;
    // Another entry is shown already.
    if (!form.isConnected) return;
    const values = Object.fromEntries(controls().map((one) => [one.id, ["checkbox", "radio"].includes(one.type) ? one.checked : one.value]));
    if (JSON.stringify(values).length <= MOST) write(values);
  };
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(keep, PAUSE);
  };
  form.addEventListener("input", later);
  form.addEventListener("change", later);
  window.addEventListener("pagehide", () => timer && keep());
  return {
    forget: () => {
      clearTimeout(timer);
      timer = 0;
      write(undefined);
    },
  };
}
