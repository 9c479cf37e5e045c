// What happened to a session, hook runs included, which administrators can look into.

import { all, get, session as at } from "../api.js";
import { h, show as renew } from "../dom.js";
import { dialog, tell } from "../notice.js";
import { command, full, sentence } from "../words.js";

const word = (event) => sentence(event.replaceAll("_", " ")).slice(0, -1);

export function show(body, scene) {
  const list = h("ol", { class: "timeline" });
  body.append(list);
  let rev = -1;
  const read = async () => {
    rev = scene.session.rev;
    const items = await all(at(scene.id, "/history"));
    renew(
      list,
      items.reverse().map((item) =>
        h(
          "li",
          {},
          h("time", { datetime: item.at, class: "quiet" }, full(item.at)),
          h("p", {}, h("strong", {}, word(item.event)), item.detail && `: ${item.detail}`, h("span", { class: "quiet" }, ` · ${item.actor}`)),
          item.trace_id && scene.viewer.scope !== "guest" && h("button", { type: "button", class: "plain small", data: { key: item.trace_id }, on: { click: () => trace(item.trace_id) } }, "Look into this hook run"),
        ),
      ),
    );
  };
  read().catch(tell);
  return { again: () => read().catch(() => {}), update: () => scene.session.rev !== rev && read().catch(() => {}) };
}

// One hook run in full.
export async function trace(id) {
  try {
    const run = await get(`/traces/${encodeURIComponent(id)}`);
    dialog(
      `${run.hook} of ${run.template}`,
      () => [
        h("dl", { class: "facts" }, [["Outcome", run.outcome], ["Began", full(run.started_at)], ["Took", `${run.duration_ms} ms`], ["Trace", run.id]].map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
        run.detail && h("pre", { class: "logs wrap", tabindex: "0" }, run.detail),
        run.log && [h("h3", {}, "Log"), h("pre", { class: "logs wrap", tabindex: "0" }, run.log)],
        run.commands.map((one) => [
          h("h3", {}, h("code", {}, command(one.argv))),
          h("p", { class: "quiet" }, `${one.effect} · ${one.duration_ms} ms · ${one.status === null ? `signal ${one.signal}` : `status ${one.status}`}`),
          one.stdout && h("pre", { class: "logs wrap", tabindex: "0" }, one.stdout),
          one.stderr && h("pre", { class: "logs wrap error", tabindex: "0" }, one.stderr),
        ]),
      ],
      { wide: true },
    );
  } catch (problem) {
    tell(problem);
  }
}
