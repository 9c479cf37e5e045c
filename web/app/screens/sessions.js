// The list of sessions: those that live, and on another page those that have ended.

import { all } from "../api.js";
import { h, show as renew } from "../dom.js";
import { live } from "../live.js";
import { tell } from "../notice.js";
import { age, reason, state, timeLeft } from "../words.js";

const TICK = 10000;

export function badge(session) {
  const { word, tone } = state(session);
  return h("span", { class: `badge ${tone}` }, word);
}

function row(session, viewer) {
  const left = timeLeft(session);
  const why = reason(session);
  const facts = [
    session.template,
    session.owner !== viewer.user && `shared by ${session.owner}`,
    session.state === "ended" ? `ended ${age(session.ended_at)} ago` : `${age(session.created_at)} old`,
    session.connections > 0 && `${session.connections} connected`,
  ].filter(Boolean);
  return h(
    "li",
    { class: "row", data: { id: session.id } },
    h(
      "a",
      { href: `#/s/${session.id}`, data: { key: session.id } },
      h("span", { class: "title" }, session.name),
      badge(session),
      h("span", { class: "facts quiet" }, facts.join(" · "), left && [" · ", h("span", { class: left.soon ? "soon" : null }, left.text)]),
      why && h("span", { class: "why" }, why),
    ),
  );
}

const newest = (a, b) => b.created_at.localeCompare(a.created_at);

function empty(ended, viewer) {
  if (live.state === "connecting") return h("p", { class: "quiet" }, "Reading…");
  if (live.state === "lost") return h("p", { class: "empty" }, "What there is can be read when the launcher answers.");
  if (ended) return h("p", { class: "empty" }, "Nothing has ended lately.");
  return h(
    "div",
    { class: "empty" },
    h("p", {}, "No session is running."),
    viewer.scope === "full" && h("a", { class: "button primary", href: "#/start" }, "Start a session"),
  );
}

export function show(main, parts, viewer) {
  const ended = parts[0] === "ended";
  const list = h("ul", { class: "rows" });
  const nothing = h("div", {});
  const search = h("input", { type: "search", placeholder: "Name, template or tag", "aria-label": "Find a session" });
  let past = [];

  const fits = (session) => {
    const text = search.value.trim().toLowerCase();
    const tags = Object.entries(session.tags || {}).map(([key, value]) => `${key}=${value}`);
    return !text || [session.name, session.id, session.template, session.owner, ...tags].some((word) => word.toLowerCase().includes(text));
  };
  const update = () => {
    const known = [...live.sessions.values()];
    const sessions = ended
      ? [...new Map([...past, ...known.filter((one) => one.state === "ended")].map((one) => [one.id, one])).values()]
      : known.filter((one) => one.state !== "ended");
    const shown = sessions.filter(fits).sort(newest);
    const mine = shown.filter((one) => one.owner === viewer.user);
    const shared = shown.filter((one) => one.owner !== viewer.user);
    renew(
      list,
      mine.map((one) => row(one, viewer)),
      shared.length > 0 && mine.length > 0 && h("li", { class: "parting" }, "Shared with you"),
      shared.map((one) => row(one, viewer)),
    );
    list.hidden = shown.length === 0;
    renew(nothing, shown.length === 0 && (search.value.trim() ? h("p", { class: "empty" }, "Nothing fits.") : empty(ended, viewer)));
  };

  main.append(
    h(
      "div",
      { class: "heading" },
      h("h1", {}, ended ? "Ended sessions" : "Sessions"),
      h(
        "div",
        { class: "actions" },
        search,
        viewer.scope === "full" && h("a", { class: "button primary", href: "#/start" }, "Start a session"),
      ),
    ),
    h(
      "nav",
      { class: "tabs", "aria-label": "Which sessions" },
      h("a", { href: "#/", "aria-current": ended ? null : "page" }, "Live"),
      h("a", { href: "#/ended", "aria-current": ended ? "page" : null }, "Ended"),
    ),
    list,
    nothing,
  );
  search.addEventListener("input", update);
  live.addEventListener("change", update);
  const tick = setInterval(update, TICK);
  let away = false;
  const readPast = () => {
    const failed = (problem) => {
      away = true;
      if (live.state === "live") tell(problem);
    };
    all("/sessions?state=ended", 500).then((items) => {
      past = items;
      update();
    }, failed);
  };
  // What could not be read while the launcher was away is read when it is back.
  const back = () => {
    if (live.state === "lost") away = true;
    else if (away && live.state === "live") {
      away = false;
      readPast();
    }
  };
  if (ended) {
    live.addEventListener("change", back);
    readPast();
  }
  update();
  return {
    stop: () => {
      live.removeEventListener("change", update);
      live.removeEventListener("change", back);
      clearInterval(tick);
    },
  };
}
