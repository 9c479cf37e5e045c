// A session's desktop: noVNC over a tunnel to an endpoint of the kind `vnc`.

import { get, session as at } from "../api.js";
import { action, h, show as renew } from "../dom.js";
import { tell } from "../notice.js";
import { Tunnel } from "../stream.js";

const AGAIN = 1500;

export function show(body, scene) {
  const state = h("p", { class: "terminal-state", role: "status" });
  const place = h("div", { class: "desktop-place" });
  const bar = h("div", { class: "terminal-bar" });
  body.append(bar, place);
  let name = scene.desktops[0];
  let rfb = null;
  let timer = 0;
  let stopped = false;

  const open = async () => {
    const { default: RFB } = await import("/vendor/novnc/core/rfb.js");
    if (stopped) return;
    state.textContent = "Connecting…";
    const tunnel = new Tunnel(scene.id, name);
    rfb = new RFB(place, tunnel, { shared: true });
    rfb.scaleViewport = true;
    rfb.resizeSession = true;
    rfb.focusOnClick = true;
    rfb.background = "transparent";
    rfb.addEventListener("connect", () => {
      state.textContent = "";
      rfb.focus();
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
    action("Ctrl-Alt-Del", { class: "small" }, () => rfb?.sendCtrlAltDel(), tell),
    action("Full screen", { class: "small" }, () => place.requestFullscreen(), tell),
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
