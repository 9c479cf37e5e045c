// The page's beginning: who is signed in, which screen the address names, and the frame around all of them.
// Addresses are fragments, which no browser sends anywhere: the secrets of sign-ins and links are among them.

import { get, remove, signedOut } from "./api.js";
import { h, show } from "./dom.js";
import { live } from "./live.js";
import { tell } from "./notice.js";
import * as administration from "./screens/administration.js";
import * as entry from "./screens/entry.js";
import * as session from "./screens/session.js";
import * as sessions from "./screens/sessions.js";
import * as start from "./screens/start.js";
import { forget, isShared, keep } from "./tab.js";
import { sentence } from "./words.js";

const app = document.getElementById("app");
// What the screen that is shown has to be told when it goes: { stop() }.
let shown = null;
let viewer = null;

function link(href, label, current) {
  return h("a", { href, "aria-current": current ? "page" : null }, label);
}

function frame(parts) {
  const guest = viewer.scope === "guest";
  const place = parts[0] || "";
  const main = h("main", { id: "main", tabindex: "-1" });
  const state = h("p", { class: "connection", role: "status" });
  const tellState = () => {
    state.textContent = live.state === "lost" ? "The launcher does not answer. Sessions go on; this page tries again." : "";
    state.hidden = live.state !== "lost";
  };
  live.addEventListener("change", tellState);
  tellState();
  app.replaceChildren(
    h("a", { class: "skip", href: "#main", on: { click: skip } }, "To the content"),
    h(
      "header",
      { class: "bar" },
      h("a", { class: "brand", href: "#/" }, h("img", { src: "/favicon.svg", alt: "", width: "24", height: "24" }), "Wharf"),
      h(
        "nav",
        { "aria-label": "Main" },
        link("#/", "Sessions", ["", "ended", "s"].includes(place)),
        viewer.scope === "full" && link("#/start", "Start", place === "start"),
        !guest && link("#/launcher", "Launcher", place === "launcher"),
      ),
      h(
        "div",
        { class: "who" },
        h("span", { class: "quiet" }, viewer.scope === "full" ? viewer.user : `${viewer.user} (${viewer.scope === "read" ? "reads only" : "guest"})`),
        h("button", { type: "button", class: "plain", on: { click: leave } }, "Sign out"),
      ),
    ),
    state,
    main,
  );
  return { main, stop: () => live.removeEventListener("change", tellState) };
}

function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

async function leave() {
  try {
    await remove("/login", { quiet: true });
  } catch (problem) {
    if (problem.status !== 401) return tell(problem);
  }
  location.hash = "#/";
  signIn();
}

const TITLES = { "": "Sessions", ended: "Ended sessions", start: "Start a session", launcher: "Launcher" };

function screen(parts) {
  switch (parts[0] || "") {
    case "start":
      return start.show;
    case "launcher":
      return administration.show;
    case "s":
      return session.show;
    default:
      return sessions.show;
  }
}

function go() {
  document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
  const parts = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  if (parts[0] === "login" || parts[0] === "join") return enter(parts[0], parts[1] || "");
  if (!viewer) return begin();
  keep();
  // Another tab of the same session: its screen changes itself.
  if (shown?.moved?.(parts)) return;
  shown?.stop?.();
  const title = TITLES[parts[0] || ""];
  document.title = title ? `${title} · Wharf` : "Wharf";
  const outer = frame(parts);
  const inner = screen(parts)(outer.main, parts, viewer) || {};
  shown = {
    ...inner,
    stop: () => {
      outer.stop();
      inner.stop?.();
    },
  };
  window.scrollTo(0, 0);
}

// A secret came in the address: it leaves it, and the browser's history, before anything else is done.
function enter(kind, secret) {
  history.replaceState(null, "", "#/");
  shown?.stop?.();
  live.stop();
  entry.redeem(app, kind, secret, (place) => {
    viewer = null;
    history.replaceState(history.state, "", place);
    begin();
  });
}

async function begin() {
  try {
    viewer = await get("/login", { quiet: true });
  } catch (problem) {
    if (problem.status === 401) return signIn(problem.field === "X-Wharf-Page" ? sentence(`${problem.message}: ${problem.hint}`) : "");
    show(app, entry.unreachable(problem, begin));
    return;
  }
  live.start();
  if (viewer.session_id && location.hash.replace(/^#\/?/, "") === "") {
    history.replaceState(history.state, "", `#/s/${viewer.session_id}`);
  }
  go();
}

function signIn(why = "") {
  forget();
  shown?.stop?.();
  shown = null;
  viewer = null;
  live.stop();
  entry.show(app, begin, "", why);
}

// Not by the viewer: a token was withdrawn or has expired, or another tab has signed out.
signedOut.then = () =>
  viewer &&
  signIn(
    viewer.scope === "guest"
      ? "What you came by is over: it was withdrawn, or its time is up."
      : "Your sign-in is over. Sign in again and you are back where you were; what you have typed and not sent is kept.",
  );
// Come back to without being loaded: what it showed is over.
window.addEventListener("pageshow", ({ persisted }) => persisted && !isShared() && viewer && begin());
window.addEventListener("hashchange", go);
go();
