// Who else may see or enter a session, and who is in it now.

import { all, post, remove, session as at } from "../api.js";
import { action, h, show as renew } from "../dom.js";
import { draft } from "../draft.js";
import { copy, notify, tell } from "../notice.js";
import { age, grantee, sentence, when } from "../words.js";

const EXPIRY = { "1h": "an hour", "8h": "8 hours", "1d": "a day", "7d": "a week", "": "until it is withdrawn" };
const KINDS = { terminal: "at the terminal", tunnel: "by a tunnel", application: "in an application" };

function radios(name, choices, chosen) {
  return Object.entries(choices).map(([value, [label, hint]]) => {
    const input = h("input", { type: "radio", name, value, id: `share-${name}-${value}` });
    input.checked = value === chosen;
    return h("label", { class: "choice" }, input, h("span", {}, label, hint && h("span", { class: "hint" }, hint)));
  });
}

function what(share) {
  const role = share.role === "control" ? "may type and use everything in it" : "may look";
  const until = share.expires_at ? `until ${when(share.expires_at).replace(/^at /, "")}` : "until withdrawn";
  return [share.exec ? `${role} and run commands` : role, until].join(", ");
}

export function show(body, scene) {
  const shares = h("ul", { class: "rows plain" });
  const people = h("ul", { class: "rows plain" });
  const own = scene.access.own;
  let connections = null;

  const readShares = async () => {
    const items = await all(at(scene.id, "/shares"));
    renew(
      shares,
      items.length === 0 && h("li", { class: "quiet" }, "It is shared with nobody."),
      items.map((share) =>
        h(
          "li",
          { class: "row", data: { key: share.id } },
          h("div", {}, h("span", { class: "title" }, grantee(share.grantee)), h("span", { class: "facts quiet" }, what(share))),
          own && action("Withdraw", { class: "small", "aria-label": `Withdraw the share with ${grantee(share.grantee)}`, data: { key: `w-${share.id}` } }, async () => {
            await remove(at(scene.id, `/shares/${share.id}`));
            notify("Withdrawn", { hint: "What was open by it is cut" });
            await readShares();
          }, tell),
        ),
      ),
    );
  };
  const readPeople = async () => {
    const items = await all(at(scene.id, "/connections"));
    renew(
      people,
      items.length === 0 && h("li", { class: "quiet" }, "Nobody is in it now."),
      items.map((one) =>
        h(
          "li",
          { class: "row" },
          h("div", {}, h("span", { class: "title" }, one.user), h("span", { class: "facts quiet" }, [KINDS[one.kind] || one.kind, one.endpoint, one.role === "view" && "looks only", `for ${age(one.since)}`].filter(Boolean).join(" · "))),
          own && action("Disconnect", { class: "small", "aria-label": `Disconnect ${one.user}` }, async () => {
            await post(at(scene.id, "/disconnect"), { user: one.user });
            notify(`${one.user} is disconnected`, { hint: "The session goes on; a share stays until it is withdrawn" });
            await readPeople();
          }, tell),
        ),
      ),
    );
  };

  if (own) body.append(form(scene, readShares));
  body.append(h("h2", {}, "Shared with"), shares);
  if (own) body.append(h("h2", {}, "In it now"), people);
  readShares().catch(tell);
  const update = () => {
    if (!own || scene.session.connections === connections) return;
    connections = scene.session.connections;
    readPeople().catch(() => {});
  };
  update();
  const again = () => {
    readShares().catch(() => {});
    connections = null;
    update();
  };
  return { update, again };
}

function form(scene, done) {
  const name = h("input", { type: "text", id: "share-name", autocomplete: "off", autocapitalize: "none", spellcheck: "false" });
  const nameField = h("div", { class: "field" }, h("label", { for: "share-name" }, "Name"), name);
  const exec = h("input", { type: "checkbox", id: "share-exec" });
  const expiry = h("select", { id: "share-expiry" }, Object.entries(EXPIRY).map(([value, label]) => h("option", { value }, label)));
  expiry.value = "1d";
  const error = h("p", { class: "field-error", role: "alert" });
  const made = h("div", { class: "made", role: "status", hidden: true });
  const element = h(
    "form",
    { class: "share", novalidate: true },
    h("h2", {}, "Share it"),
    h("fieldset", {}, h("legend", {}, "With whom"), h("div", { class: "choices" }, radios("whom", { user: ["A person"], group: ["A group"], link: ["Whoever has a link"] }, "user"))),
    nameField,
    h(
      "fieldset",
      {},
      h("legend", {}, "They may"),
      h("div", { class: "choices" }, radios("role", { view: ["Look", "Its terminal without typing, logs, history"], control: ["Use it", "Type, and enter desktops and applications: as you, with your files"] }, "view")),
    ),
    h("div", { class: "field check" }, h("label", {}, exec, " They may also run commands inside, as you")),
    h("div", { class: "field" }, h("label", { for: "share-expiry" }, "For"), expiry),
    error,
    h("div", { class: "actions" }, h("button", { type: "submit", class: "primary" }, "Share")),
    made,
  );
  const unsent = draft(element, `share ${scene.viewer.user} ${scene.id}`);
  const whom = () => new FormData(element).get("whom");
  const ask = () => {
    nameField.hidden = whom() === "link";
  };
  element.addEventListener("change", ask);
  ask();
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    error.textContent = "";
    const kind = whom();
    if (kind !== "link" && !name.value.trim()) {
      error.textContent = "Whose name is it?";
      return name.focus();
    }
    const request = { grantee: kind === "link" ? "link" : `${kind}:${name.value.trim()}`, role: new FormData(element).get("role"), exec: exec.checked };
    if (expiry.value) request.expires_in = expiry.value;
    try {
      const share = await post(at(scene.id, "/shares"), request);
      made.hidden = !share.url;
      if (share.url) {
        const address = h("input", { type: "text", readonly: true, value: share.url, "aria-label": "The link" });
        made.replaceChildren(
          h("p", {}, "This link is shown once. Whoever has it may enter."),
          h("div", { class: "line" }, address, h("button", { type: "button", on: { click: () => copy(share.url, "Link") } }, "Copy")),
        );
        address.select();
      } else {
        notify(`Shared with ${grantee(share.grantee)}`);
        name.value = "";
      }
      unsent.forget();
      await done();
    } catch (problem) {
      error.textContent = `${sentence(problem.message)} ${problem.hint ? sentence(problem.hint) : ""}`;
    }
  });
  return element;
}
