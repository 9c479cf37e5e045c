// One session: how it is, what can be done with it, and its ways in, one tab each.

import { get, post, session as at } from "../api.js";
import { action, h, show as renew } from "../dom.js";
import { live } from "../live.js";
import { copy, notify, tell } from "../notice.js";
import { isShared } from "../tab.js";
import { age, command, full, reason, sentence, span, timeLeft } from "../words.js";
import * as desktop from "./desktop.js";
import { ending, extend } from "./ending.js";
import * as history from "./history.js";
import * as logs from "./logs.js";
import * as parameters from "./parameters.js";
import * as run from "./run.js";
import { badge } from "./sessions.js";
import * as sharing from "./sharing.js";
import * as terminal from "./terminal.js";

const TICK = 5000;
// Between two looks at the ways in: after one that failed, and while all is well.
const AGAIN = 2000;
const ANEW = 30000;

const TABS = {
  overview: { title: "Overview", show: overview },
  terminal: { title: "Terminal", show: terminal.show, when: ({ access }) => access.role && access.terminal },
  desktop: { title: "Desktop", show: desktop.show, when: ({ access, desktops }) => access.role === "control" && desktops.length > 0 },
  logs: { title: "Logs", show: logs.show },
  run: { title: "Run", show: run.show, when: ({ access, session }) => access.exec && session.state !== "ended" },
  parameters: { title: "Parameters", show: parameters.show },
  sharing: { title: "Sharing", show: sharing.show, when: ({ access, session, viewer }) => (access.own || viewer.scope === "read") && session.state !== "ended" },
  history: { title: "History", show: history.show },
};

export function show(main, parts, viewer) {
  const id = parts[1] || "";
  const scene = { id, viewer, session: live.sessions.get(id), access: { own: false, role: null, exec: false, terminal: false }, desktops: [], applications: [] };
  let tab = parts[2] || "overview";
  let inner = null;
  let known = "";
  let asking = 0;
  let away = false;

  const head = h("div", { class: "session-head" });
  const tabs = h("nav", { class: "tabs", "aria-label": "Session" });
  const body = h("div", { class: "tab" });
  main.append(head, tabs, body);

  const fits = (name) => !TABS[name].when || TABS[name].when(scene);
  const header = () => {
    const { session, access } = scene;
    const why = reason(session);
    const left = timeLeft(session);
    renew(
      head,
      h("p", { class: "crumb" }, h("a", { href: session.state === "ended" ? "#/ended" : "#/", data: { key: "back" } }, "Sessions")),
      h("div", { class: "heading" }, h("h1", {}, session.name), badge(session), left && h("span", { class: left.soon ? "soon" : "quiet" }, left.text), controls(scene, access)),
      why && h("p", { class: "why", role: "status" }, why),
    );
    renew(
      tabs,
      Object.keys(TABS)
        .filter(fits)
        .map((name) => h("a", { href: `#/s/${id}/${name}`, "aria-current": name === tab ? "page" : null, data: { key: `tab-${name}` } }, TABS[name].title)),
    );
  };
  const enter = () => {
    inner?.stop?.();
    body.replaceChildren();
    body.className = `tab ${tab}`;
    document.title = `${scene.session.name} · Wharf`;
    tabs.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
    if (!TABS[tab] || !fits(tab)) {
      const over = scene.session.state === "ended";
      body.append(
        h(
          "div",
          { class: "empty" },
          h("p", {}, over ? "The session has ended. What it printed is kept for a while." : "There is nothing here for you, or not now."),
          h("a", { class: "button", href: `#/s/${id}/${over ? "logs" : "overview"}` }, over ? "See its logs" : "Overview"),
        ),
      );
      inner = null;
    } else {
      inner = TABS[tab].show(body, scene) || null;
    }
  };
  // Which ways in there are: asked when it comes to run or comes back, and now and then, since it may declare others.
  const ways = async () => {
    clearTimeout(asking);
    const { session, access } = scene;
    if (!session) return;
    if (session.state !== "running" || session.link !== "connected" || access.role !== "control") return;
    try {
      const { endpoints } = await post(at(id, "/connect"));
      scene.desktops = endpoints.filter((one) => one.kind === "vnc").map((one) => one.name);
      scene.applications = endpoints.filter((one) => one.kind === "http").map((one) => one.name);
      const missed = tab === "desktop" && !inner;
      update();
      if (missed) enter();
      asking = setTimeout(ways, ANEW);
    } catch {
      asking = setTimeout(ways, AGAIN);
    }
  };
  const update = () => {
    const fresh = live.sessions.get(id);
    // What could not be read while the launcher was away is read when it is back.
    if (live.state === "lost") away = true;
    else if (away && live.state === "live") {
      away = false;
      if (scene.missed) begin();
      else inner?.again?.();
    }
    if (fresh && scene.session) scene.session = fresh;
    if (!scene.session) return;
    const now = [scene.session.state, scene.session.link, scene.session.terminating].join();
    header();
    inner?.update?.();
    if (now !== known) {
      known = now;
      ways();
    }
  };
  const gone = ({ detail }) => {
    if (detail !== id) return;
    inner?.stop?.();
    inner = null;
    renew(tabs);
    nothing("This session is no longer there for you: it was purged, or is no longer shared with you.");
    scene.session = null;
  };

  const nothing = (text) => {
    renew(tabs);
    tabs.hidden = true;
    renew(head, h("h1", {}, scene.session?.name || "Session"));
    body.className = "tab";
    body.replaceChildren(h("div", { class: "empty", role: "alert" }, h("p", {}, text), h("a", { class: "button", href: "#/" }, "All sessions")));
  };
  const begin = async () => {
    try {
      const [session, access] = await Promise.all([get(at(id)), get(at(id, "/access"))]);
      scene.session = session;
      scene.access = access;
      scene.missed = false;
      tabs.hidden = false;
      if (session.state === "ended") live.put(session);
      known = "";
      update();
      enter();
    } catch (problem) {
      if (problem.status === 401) return;
      nothing(problem.status === 404 ? "There is no such session, or it is not shared with you." : sentence(problem.message));
      scene.missed = problem.status !== 404;
    }
  };
  if (scene.session) header();
  else body.append(h("p", { class: "quiet" }, "Reading…"));
  live.addEventListener("change", update);
  live.addEventListener("gone", gone);
  const tick = setInterval(update, TICK);
  begin();
  return {
    moved: (next) => {
      if (next[0] !== "s" || next[1] !== id || !scene.session) return false;
      tab = next[2] || "overview";
      header();
      enter();
      return true;
    },
    stop: () => {
      inner?.stop?.();
      live.removeEventListener("change", update);
      live.removeEventListener("gone", gone);
      clearInterval(tick);
      clearTimeout(asking);
      document.title = "Wharf";
    },
  };
}

function controls(scene, access) {
  const { id, session, applications } = scene;
  const running = session.state === "running";
  return h(
    "div",
    { class: "actions" },
    running && applications.map((name) => application(id, name)),
    running && access.own && session.job?.ends_at && h("button", { type: "button", data: { key: "extend" }, on: { click: () => extend(session) } }, "More time"),
    access.own && h("button", { type: "button", data: { key: "end" }, on: { click: () => ending(session) } }, session.state === "ended" ? "Forget…" : "End…"),
  );
}

// The address is asked for when it is wanted: what is in it works once, and soon. The new page gets no hold of this one.
function application(id, name) {
  const open = async () => {
    // Where they share an origin not even an empty page of it may have come from this one.
    const page = isShared() ? null : window.open("about:blank", "_blank");
    if (page) page.opener = null;
    try {
      const { endpoints } = await post(at(id, "/connect"), { endpoint: name });
      const url = endpoints[0].url;
      if (!/^https?:/.test(url)) throw new Error(`The address of ${name} is none that a browser opens.`);
      if (page) page.location.replace(url);
      else if (isShared()) window.open(url, "_blank", "noopener,noreferrer");
      else notify("The browser did not open a new tab", { alert: true, hint: "Allow pop-ups for this page" });
    } catch (problem) {
      page?.close();
      throw problem;
    }
  };
  return action(`Open ${name}`, { class: "primary", data: { key: `open-${name}` } }, open, tell);
}

// Long ones in a line that opens.
const LONG = 160;
const whole = (text) => (text.length <= LONG ? h("code", {}, text) : h("details", { data: { key: "command" } }, h("summary", {}, h("code", {}, `${text.slice(0, LONG / 2).replace(/\s+/g, " ")}…`)), h("pre", { class: "wrap" }, text)));

function overview(body, scene) {
  const list = h("dl", { class: "facts" });
  const ways = h("div", { class: "actions" });
  body.append(ways, list);
  const update = () => {
    const { session, access, applications, desktops } = scene;
    const running = session.state === "running";
    renew(
      ways,
      running && access.role && access.terminal && session.link === "connected" && h("a", { class: "button primary", href: `#/s/${scene.id}/terminal` }, access.role === "view" ? "Watch the terminal" : "Open the terminal"),
      running && desktops.length > 0 && h("a", { class: "button primary", href: `#/s/${scene.id}/desktop` }, "Open the desktop"),
    );
    ways.hidden = ways.childNodes.length === 0;
    const left = timeLeft(session);
    const job = session.job;
    const facts = [
      ["Template", session.template],
      ["Owner", session.owner],
      ["Command", session.command?.length > 0 && whole(command(session.command))],
      ["Job", job?.id && `${job.id} (${session.scheduler})`],
      ["Scheduler says", job && session.state !== "ended" && [job.raw || job.state, job.reason].filter(Boolean).join(": ")],
      ["Place in the queue", session.state === "pending" && job?.position && String(job.position)],
      ["Expected start", session.state === "pending" && job?.starts_at && `${full(job.starts_at)} (in ${span(Date.parse(job.starts_at) - Date.now())})`],
      ["Node", job?.node],
      ["Created", `${full(session.created_at)} (${age(session.created_at)} ago)`],
      ["Started", session.started_at && `${full(session.started_at)} (${age(session.started_at)} ago)`],
      ["Ended", session.ended_at && full(session.ended_at)],
      ["Time left", left && h("span", { class: left.soon ? "soon" : null }, `${left.text}, until ${full(job.ends_at)}`)],
      ["Connected now", running && String(session.connections)],
      ["Applications", applications.length > 0 && applications.join(", ")],
      ["Tags", Object.keys(session.tags || {}).length > 0 && Object.entries(session.tags).map(([name, value]) => `${name}=${value}`).join(", ")],
      ["Id", h("span", {}, h("code", {}, session.id), " ", h("button", { type: "button", class: "plain small", data: { key: "copy-id" }, on: { click: () => copy(session.id, "Id") } }, "Copy"))],
    ];
    renew(list, facts.filter(([, value]) => value).map(([name, value]) => h("div", { data: { key: name } }, h("dt", {}, name), h("dd", {}, value))));
  };
  update();
  return { update };
}
