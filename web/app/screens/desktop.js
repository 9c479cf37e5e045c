// A session's desktop: noVNC over a tunnel to an endpoint of the kind `vnc`.

import { get, session as at } from "../api.js";
import { action, h, show as renew } from "../dom.js";
import { leave } from "../leave.js";
import { dialog, tell } from "../notice.js";
import { Tunnel } from "../stream.js";

const AGAIN = 1500;
const SIZES = { window: "Size of this window", scaled: "All of it, scaled", own: "Its own size" };
// On a phone it is shown as it is until the viewer says otherwise: others may be in it too.
const NARROW = 700;
// A smaller screen leaves windows outside, and is none to work on: in a smaller place a screen of its shape is scaled.
const LEAST = { w: 1024, h: 720 };
const KEPT = "wharf-desktop-size";

// How the viewer wants desktops, if they ever said; the browser may keep nothing.
function wanted() {
  try {
    return SIZES[localStorage.getItem(KEPT)] ? localStorage.getItem(KEPT) : null;
  } catch {
    return null;
  }
}

function want(size) {
  try {
    localStorage.setItem(KEPT, size);
  } catch {
    // It holds for this visit.
  }
}

let Desktop = null;

// noVNC asks for a screen of exactly the place's size. Ours asks for one that is large enough, of the place's shape.
function roomy(RFB) {
  return class extends RFB {
    _requestRemoteResize() {
      const { w, h: height } = this._screenSize();
      const larger = Math.max(1, LEAST.w / w, LEAST.h / height);
      this._screenSize = () => ({ w: Math.round(w * larger), h: Math.round(height * larger) });
      try {
        super._requestRemoteResize();
      } finally {
        delete this._screenSize;
      }
    }
  };
}

// What was copied there, and what is to be pasted there: browsers hand over neither by themselves.
function clipboard(copied, send) {
  dialog("The desktop's clipboard", (close) => {
    const text = h("textarea", { id: "clipboard-text", rows: "8", spellcheck: "false", value: copied });
    return [
      h("div", { class: "field" }, h("label", { for: "clipboard-text" }, "Text"), text, h("p", { class: "hint" }, "What was copied on the desktop last. Change it and give it back, then paste it there.")),
      h("div", { class: "actions" }, action("Give it to the desktop", { class: "primary" }, () => {
        send(text.value);
        close();
      }, tell)),
    ];
  });
}

export function show(body, scene) {
  const state = h("p", { class: "terminal-state", role: "status" });
  const place = h("div", { class: "desktop-place" });
  const bar = h("div", { class: "terminal-bar" });
  body.append(bar, place, leave(place, "desktop-leave"));
  let name = scene.desktops[0];
  let rfb = null;
  let timer = 0;
  let stopped = false;
  let copied = "";
  const size = h("select", { class: "small", "aria-label": "Size of the desktop" }, Object.entries(SIZES).map(([value, label]) => h("option", { value }, label)));
  size.value = wanted() || (place.clientWidth < NARROW ? "scaled" : "window");
  const resize = () => {
    if (!rfb) return;
    rfb.scaleViewport = size.value !== "own";
    rfb.resizeSession = size.value === "window";
  };
  size.addEventListener("change", () => {
    want(size.value);
    resize();
    rfb?.focus();
  });

  const open = async () => {
    const { default: RFB } = await import("/vendor/novnc/core/rfb.js");
    Desktop ??= roomy(RFB);
    if (stopped) return;
    state.textContent = "Connecting…";
    const tunnel = new Tunnel(scene.id, name);
    rfb = new Desktop(place, tunnel, { shared: true });
    resize();
    rfb.focusOnClick = true;
    rfb.background = "transparent";
    rfb.addEventListener("connect", () => {
      state.textContent = "";
      rfb.focus();
    });
    rfb.addEventListener("clipboard", ({ detail }) => {
      copied = detail.text;
    });
    rfb.addEventListener("credentialsrequired", () => {
      state.textContent = "The desktop asks for a password, which Wharf's desktops do not.";
    });
    rfb.addEventListener("securityfailure", ({ detail }) => {
      state.textContent = `The desktop refused: ${detail.reason || "no reason given"}`;
    });
    rfb.addEventListener("disconnect", () => {
      rfb = null;
      if (!stopped) again(tunnel.problem);
    });
  };
  const again = async (problem) => {
    state.textContent = problem?.detail || "The desktop's connection is lost. Trying again…";
    if (problem && ["forbidden", "unknown_endpoint", "session_ended"].includes(problem.code)) return;
    clearTimeout(timer);
    timer = setTimeout(async () => {
      try {
        const session = await get(at(scene.id), { quiet: true });
        if (stopped) return;
        if (session.state === "ended") state.textContent = "The session has ended.";
        else if (session.link === "connected") open();
        else again();
      } catch (failure) {
        if (stopped) return;
        if (failure.status === 404) state.textContent = "The session is no longer there, or no longer shared with you.";
        else again();
      }
    }, AGAIN);
  };
  const choose = h("select", { "aria-label": "Which desktop" }, scene.desktops.map((one) => h("option", { value: one }, one)));
  choose.addEventListener("change", () => {
    name = choose.value;
    rfb?.disconnect();
  });
  renew(
    bar,
    scene.desktops.length > 1 && choose,
    size,
    action("Clipboard…", { class: "small" }, () => clipboard(copied, (text) => rfb?.clipboardPasteFrom(text)), tell),
    action("Ctrl-Alt-Del", { class: "small" }, () => rfb?.sendCtrlAltDel(), tell),
    action("Full screen", { class: "small" }, () => place.requestFullscreen(), tell),
    h("span", { class: "quiet keyboard" }, "Out by keyboard: Ctrl-Alt-."),
    state,
  );
  open().catch(tell);
  return {
    stop: () => {
      stopped = true;
      clearTimeout(timer);
      rfb?.disconnect();
    },
  };
}
