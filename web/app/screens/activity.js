// Small live plots, from the launcher's figures as they are asked for while this screen is open.

import { request } from "../api.js";
import { h, show as renew, svg } from "../dom.js";
import { sentence } from "../words.js";

const STEP = 5000;
// A plot needs two looks.
const SECOND = 1000;
const KEPT = 120;
const WIDTH = 320;
const HEIGHT = 80;
const LINE = /^(\w+)(?:\{(.*)\})? ([\d.e+-]+)$/;

// The figures of `/metrics`, by name: [labels, value].
function parse(text) {
  const figures = {};
  for (const line of text.split("\n")) {
    const found = LINE.exec(line);
    if (!found) continue;
    const labels = Object.fromEntries([...(found[2] || "").matchAll(/(\w+)="([^"]*)"/g)].map(([, name, value]) => [name, value]));
    (figures[found[1]] ??= []).push([labels, Number(found[3])]);
  }
  return figures;
}

const sum = (rows, fits = () => true) => (rows || []).filter(([labels]) => fits(labels)).reduce((total, [, value]) => total + value, 0);

// What one look gives; totals are turned into rates between two looks.
function look(figures) {
  const polls = ({ hook }) => hook === "status";
  return {
    at: Date.now(),
    pending: sum(figures.wharf_sessions, ({ state }) => state === "pending"),
    running: sum(figures.wharf_sessions, ({ state }) => state === "running"),
    streams: sum(figures.wharf_streams),
    starts: sum(figures.wharf_starts_total),
    runs: sum(figures.wharf_hook_runs_total),
    seconds: sum(figures.wharf_hook_seconds_total),
    polls: sum(figures.wharf_hook_runs_total, polls),
    failed: sum(figures.wharf_hook_runs_total, ({ outcome }) => outcome !== "ok"),
  };
}

const per = (name, scale) => (now, before) => (before ? (Math.max(0, now[name] - before[name]) / (now.at - before.at)) * scale : 0);

const PLOTS = [
  { title: "Sessions", unit: "", series: [["running", (now) => now.running], ["pending", (now) => now.pending]] },
  { title: "Users' streams", unit: "", series: [["open", (now) => now.streams]] },
  { title: "Starts", unit: " a minute", series: [["starts", per("starts", 60000)]] },
  { title: "Time in hooks", unit: " ms each", series: [["mean", (now, before) => (before && now.runs > before.runs ? ((now.seconds - before.seconds) / (now.runs - before.runs)) * 1000 : 0)]] },
  { title: "Polls of schedulers", unit: " a minute", series: [["polls", per("polls", 60000)]] },
  { title: "Hooks that failed", unit: " a minute", series: [["failures", per("failed", 60000)]] },
];

const round = (value) => (value >= 100 || Number.isInteger(value) ? String(Math.round(value)) : value.toFixed(1));

function plot({ title, unit, series }, looks) {
  const values = series.map(([name, of]) => [name, looks.map((now, at) => of(now, looks[at - 1]))]);
  const top = Math.max(1, ...values.flatMap(([, all]) => all));
  const x = (at) => WIDTH - (looks.length - 1 - at) * (WIDTH / (KEPT - 1));
  const y = (value) => HEIGHT - 4 - (value / top) * (HEIGHT - 8);
  const last = values.map(([name, all]) => `${series.length > 1 ? `${name} ` : ""}${round(all.at(-1) ?? 0)}${unit}`).join(", ");
  return h(
    "figure",
    { class: "card plot" },
    h("figcaption", {}, h("span", { class: "title" }, title), h("span", { class: "quiet" }, last)),
    svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}: ${last}; highest ${round(top)}${unit}`, preserveAspectRatio: "none" },
      svg("line", { class: "base", x1: 0, x2: WIDTH, y1: HEIGHT - 4, y2: HEIGHT - 4 }),
      values.map(([, all], index) => svg("polyline", { class: `series s${index}`, points: all.map((value, at) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(" ") })),
    ),
  );
}

// Looks are kept from one visit to the next.
const looks = [];

export function show(body) {
  const plots = h("div", { class: "plots" });
  const state = h("p", { class: "quiet", role: "status" });
  body.append(plots, state);
  const read = async () => {
    try {
      const response = await request("GET", "/metrics", { base: "" });
      looks.push(look(parse(await response.text())));
      if (looks.length > KEPT) looks.shift();
      state.textContent = "";
      renew(plots, PLOTS.map((one) => plot(one, looks)));
    } catch (error) {
      state.textContent = sentence(error.message);
    }
  };
  read();
  const second = looks.length < 2 && setTimeout(read, SECOND);
  const timer = setInterval(read, STEP);
  return {
    stop: () => {
      clearTimeout(second);
      clearInterval(timer);
    },
  };
}
