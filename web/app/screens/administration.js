// For administrators: what the launcher does now, its backends, its templates.

import { all, get } from "../api.js";
import { h, show as renew } from "../dom.js";
import { tell } from "../notice.js";
import { age, full, sentence, when } from "../words.js";
import * as activity from "./activity.js";

const AGAIN = 15000;

const TABS = { activity: ["Activity", activity.show], backends: ["Backends", backends], templates: ["Templates", templates] };

export function show(main, parts) {
  const tab = TABS[parts[1]] ? parts[1] : "activity";
  const body = h("div", { class: `tab ${tab}` });
  const nodes = h("p", { class: "quiet" });
  main.append(
    h("div", { class: "heading" }, h("h1", {}, "Launcher")),
    nodes,
    h("nav", { class: "tabs", "aria-label": "Launcher" }, Object.entries(TABS).map(([name, [title]]) => h("a", { href: `#/launcher/${name}`, "aria-current": name === tab ? "page" : null }, title))),
    body,
  );
  all("/nodes").then((items) => {
    nodes.textContent = items.map((node) => `${node.name}, version ${node.version}, up for ${age(node.started_at)}, ${node.links} linked`).join(" · ");
  }, tell);
  return TABS[tab][1](body);
}

function repeated(read) {
  read().catch(tell);
  const timer = setInterval(() => read().catch(() => {}), AGAIN);
  return { stop: () => clearInterval(timer) };
}

function backends(body) {
  const list = h("ul", { class: "cards wide" });
  body.append(list);
  return repeated(async () => {
    const items = await all("/backends");
    renew(
      list,
      items.map((backend) => {
        const tone = backend.healthy === null ? "wait" : backend.healthy ? "good" : "bad";
        const said = backend.healthy === null ? "Not asked yet" : backend.healthy ? "Answers" : "Does not answer";
        return h(
          "li",
          { class: "card" },
          h("div", { class: "heading" }, h("h2", {}, backend.name), h("span", { class: `badge ${tone}` }, said)),
          h("p", { class: "quiet" }, [backend.latency_ms !== undefined && `answered in ${backend.latency_ms} ms`, backend.breaker !== "closed" && `breaker ${backend.breaker.replace("_", " ")}`, backend.next_try && `next try ${when(backend.next_try)}`].filter(Boolean).join(" · ")),
          backend.last_error && h("p", { class: "why" }, sentence(backend.last_error)),
          h("p", {}, backend.templates.length > 0 ? `Templates: ${backend.templates.join(", ")}` : "No template uses it."),
          backend.capabilities.length > 0 && h("p", { class: "quiet" }, `Can: ${backend.capabilities.join(", ")}`),
        );
      }),
    );
  });
}

const counted = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const RESULTS = { passed: "good", failed: "bad", skipped: "over" };

// The last conformance run on the real scheduler: whether what serves now has passed it, and each step.
function report(name, run) {
  const again = h("code", { class: "command" }, `wharf template test ${name} --live`);
  if (!run) return h("p", { class: "quiet" }, "Never tested on its scheduler: ", again);
  const failed = run.steps.filter((step) => step.result === "failed").length;
  const [word, tone] = !run.passed ? ["failed", "bad"] : run.outdated ? ["outdated", "warn"] : ["passed", "good"];
  const said = [
    failed > 0 ? `${failed} of ${counted(run.steps.length, "step")} failed` : counted(run.steps.length, "step"),
    `${age(run.ended_at)} ago`,
    `on ${run.node}`,
  ];
  return h(
    "details",
    { data: { key: `report-${name}` }, open: !run.passed && !run.outdated },
    h("summary", {}, "Live test ", h("span", { class: `badge ${tone}` }, word), " ", h("span", { class: "quiet" }, said.join(" · "))),
    run.outdated && h("p", { class: "why" }, "The template has changed since. Test it again: ", again),
    h("p", { class: "quiet" }, `${full(run.began_at)}, Wharf ${run.wharf}, version `, h("code", {}, run.version.slice(0, 12)), " of the template"),
    h(
      "ol",
      { class: "steps" },
      run.steps.map((step) =>
        h(
          "li",
          {},
          h("span", { class: `badge ${RESULTS[step.result]}` }, step.result),
          h("div", {}, h("strong", {}, step.step), " ", h("span", { class: "quiet" }, `${step.ms} ms`), h("p", { class: "detail" }, step.result === "failed" ? step.detail : sentence(step.detail))),
        ),
      ),
    ),
  );
}

const TONES = { ok: "good", stale: "warn", broken: "bad", disabled: "over" };

function templates(body) {
  const list = h("ul", { class: "cards wide" });
  body.append(list);
  return repeated(async () => {
    const items = await all("/templates");
    const details = await Promise.all(items.map((one) => get(`/templates/${encodeURIComponent(one.name)}`)));
    renew(
      list,
      items.map((template, at) =>
        h(
          "li",
          { class: "card" },
          h("div", { class: "heading" }, h("h2", {}, template.title), h("span", { class: `badge ${TONES[template.state]}` }, template.state)),
          h("p", { class: "quiet" }, [template.name, template.backend, template.origin === "builtin" ? "shipped" : template.origin].filter(Boolean).join(" · ")),
          template.message && h("p", { class: "why" }, sentence(template.message)),
          template.failing.map((hook) => h("p", { class: "why" }, `${hook.hook} failed ${hook.failures} times: ${sentence(hook.error)}`, hook.next_try && ` Next try ${when(hook.next_try)}.`)),
          (template.state !== "broken" || details[at].report) && report(template.name, details[at].report),
          details[at].findings.length > 0 &&
            h(
              "details",
              { data: { key: `findings-${template.name}` }, open: details[at].findings.some((one) => one.severity === "error") },
              h("summary", {}, counted(details[at].findings.length, "finding")),
              h(
                "ul",
                { class: "findings" },
                details[at].findings.map((one) => h("li", {}, h("span", { class: `badge ${one.severity === "error" ? "bad" : "warn"}` }, one.severity), " ", h("code", {}, one.line ? `${one.file}:${one.line}` : one.file), " ", sentence(one.message))),
              ),
            ),
        ),
      ),
    );
  });
}
