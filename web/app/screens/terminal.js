// A session's terminal. It opens itself again after the launcher's restart, and the launcher gives the present screen
// on arrival: nothing is kept here.

import { action, h, show as renew } from "../dom.js";
import { leave } from "../leave.js";
import { Lasting } from "../stream.js";

// On a touch keyboard these keys are missing.
const KEYS = [
  ["Esc", "\x1b"],
  ["Tab", "\t"],
  ["Ctrl-C", "\x03"],
  ["Ctrl-D", "\x04"],
  ["↑", "\x1b[A"],
  ["↓", "\x1b[B"],
  ["←", "\x1b[D"],
  ["→", "\x1b[C"],
];

// The emulator writes style elements and attributes, which our policy forbids in markup. It gets elements that do the
// same by script, which scripts of this origin may: a style sheet of the document, and the style object.
function styling() {
  const sheets = [];
  const make = (name, options) => Document.prototype.createElement.call(document, name, options);
  const create = (name, options) => {
    if (name === "style") {
      const element = make("span");
      element.hidden = true;
      const sheet = new CSSStyleSheet();
      sheets.push(sheet);
      document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
      Object.defineProperty(element, "textContent", { set: (text) => sheet.replaceSync(text) });
      return element;
    }
    return make(name, options);
  };
  const proxy = new Proxy(document, {
    get: (target, name) => {
      if (name === "createElement") return create;
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  // One of its parts takes the page's own document whatever it is given.
  const during = (open) => {
    document.createElement = create;
    try {
      open();
    } finally {
      delete document.createElement;
    }
  };
  const drop = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((sheet) => !sheets.includes(sheet));
  };
  return { document: proxy, during, drop };
}

// For the spans in which it draws colours beyond the palette: the same, for all spans of the page.
HTMLSpanElement.prototype.setAttribute = function (name, value) {
  if (name === "style") this.style.cssText = value;
  else Element.prototype.setAttribute.call(this, name, value);
};

function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  return { background: of("--terminal"), foreground: of("--terminal-text"), cursor: of("--terminal-text"), selectionBackground: of("--terminal-selection") };
}

export function show(body, scene) {
  const { session, access, id } = scene;
  const watching = access.role === "view";
  if (session.state !== "running") {
    const message = h("p", { class: "empty" });
    body.append(message);
    const update = () => {
      if (scene.session.state === "running" && !entered) {
        entered = open();
      } else if (!entered) {
        message.textContent = scene.session.state === "ended" ? "The session has ended. Its logs are kept for a while." : "The terminal opens here as soon as the session runs.";
      }
    };
    let entered = null;
    const open = () => {
      body.replaceChildren();
      return screen(body, id, watching);
    };
    update();
    return { update, stop: () => entered?.stop() };
  }
  return screen(body, id, watching);
}

function screen(body, id, watching) {
  const state = h("p", { class: "terminal-state", role: "status" }, "Connecting…");
  const place = h("div", { class: watching ? "terminal-place watching" : "terminal-place" });
  const keys = h("div", { class: "keys", role: "group", "aria-label": "Keys" });
  body.append(
    h("div", { class: "terminal-bar" }, watching && h("span", { class: "badge wait" }, "View only"), state),
    place,
    keys,
    leave(place, "terminal-leave"),
  );
  let stopped = false;
  let running = null;
  begin(place, keys, state, id, watching, () => stopped).then(
    (started) => {
      running = started;
      if (stopped) started?.stop();
    },
    (error) => {
      state.textContent = `The terminal cannot be shown: ${error.message}`;
    },
  );
  return {
    stop: () => {
      stopped = true;
      running?.stop();
    },
  };
}

async function begin(place, keys, state, id, watching, isStopped) {
  const [{ Terminal }, { FitAddon }] = await Promise.all([
    import("/vendor/xterm/xterm.mjs"),
    import("/vendor/xterm-addon-fit/addon-fit.mjs"),
  ]);
  if (isStopped()) return null;
  const styles = styling();
  const terminal = new Terminal({
    documentOverride: styles.document,
    fontFamily: 'ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace',
    fontSize: 14,
    scrollback: 5000,
    cursorBlink: !watching && !matchMedia("(prefers-reduced-motion: reduce)").matches,
    disableStdin: watching,
    screenReaderMode: false,
    theme: colours(),
  });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  styles.during(() => terminal.open(place));
  terminal.textarea?.setAttribute("aria-describedby", "terminal-leave");
  const text = new TextEncoder();
  let lasting = null;
  const size = () => {
    if (place.clientWidth === 0) return;
    // A viewer sees the size that who types has set.
    if (!watching) fit.fit();
  };
  const tellSize = () => !watching && lasting?.stream?.control({ resize: { rows: terminal.rows, cols: terminal.cols } });
  const send = (data) => lasting?.stream?.send(text.encode(data));
  if (!watching) {
    terminal.onData(send);
    terminal.onBinary((data) => lasting?.stream?.send(Uint8Array.from(data, (letter) => letter.charCodeAt(0))));
    terminal.onResize(tellSize);
    renew(
      keys,
      KEYS.map(([label, data]) =>
        action(label, { class: "small" }, () => {
          send(data);
          terminal.focus();
        }, () => {}),
      ),
    );
  }
  size();
  const observer = new ResizeObserver(size);
  observer.observe(place);
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const recolour = () => (terminal.options.theme = colours());
  scheme.addEventListener("change", recolour);
  lasting = new Lasting(id, watching ? "/attach?role=view" : "/attach", {
    opened: () => {
      // What comes first is the present screen.
      terminal.reset();
      state.textContent = "";
      tellSize();
      if (!watching) terminal.focus();
    },
    data: (channel, bytes) => terminal.write(bytes),
    control: (message) => {
      if (message.resize && watching) terminal.resize(message.resize.cols, message.resize.rows);
    },
    waiting: (why) => {
      state.textContent = why;
    },
    over: (why) => {
      state.textContent = why;
      terminal.options.disableStdin = true;
      terminal.options.cursorBlink = false;
    },
  });
  return {
    stop: () => {
      lasting.stop();
      observer.disconnect();
      scheme.removeEventListener("change", recolour);
      terminal.dispose();
      styles.drop();
    },
  };
}
