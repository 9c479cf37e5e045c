// Signing in: by an address that `wharf login` gave, by a token, or by somebody's link to one session.

import { get, post } from "../api.js";
import { action, h } from "../dom.js";
import { signedIn } from "../tab.js";
import { sentence } from "../words.js";

function card(...content) {
  return h(
    "main",
    { class: "entry" },
    h("div", { class: "card" }, h("img", { src: "/favicon.svg", alt: "", width: "48", height: "48" }), ...content),
  );
}

// The form for a token.
export function show(app, begin, message = "", why = "") {
  const error = h("p", { class: "field-error", id: "token-error", role: "alert" }, message);
  const token = h("input", {
    id: "token",
    // No password to a browser, which would fill it in on whatever page of this origin asks.
    type: "text",
    class: "secret",
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
    required: true,
    "aria-describedby": "token-error",
  });
  const form = h(
    "form",
    {
      on: {
        submit: async (event) => {
          event.preventDefault();
          error.textContent = "";
          try {
            signedIn(await post("/login", { token: token.value.trim() }, { quiet: true }));
            begin();
          } catch (problem) {
            error.textContent = sentence(problem.message);
            token.focus();
          }
        },
      },
    },
    h("label", { for: "token" }, "Token"),
    token,
    error,
    h("button", { type: "submit", class: "primary" }, "Sign in"),
  );
  app.replaceChildren(
    card(
      h("h1", {}, "Sign in to Wharf"),
      why && h("p", { role: "status" }, why),
      h("p", {}, "On the launcher's host, ", h("code", {}, "wharf login"), " prints an address that signs you in. Or use a token:"),
      form,
    ),
  );
}

// The launcher cannot be reached.
export function unreachable(problem, again) {
  return card(
    h("h1", {}, "The launcher does not answer"),
    h("p", {}, problem.message, " ", problem.hint),
    h("button", { type: "button", class: "primary", on: { click: again } }, "Try again"),
  );
}

// Hands in a secret that came in the address. Whoever is signed in already is asked before a link takes the place.
export async function redeem(app, kind, secret, done) {
  const join = kind === "join";
  const use = async () => {
    try {
      const answer = await post(join ? "/redeem" : "/login", { secret }, { quiet: true });
      signedIn(answer);
      done(join ? `#/s/${answer.session_id}` : "#/");
    } catch (problem) {
      app.replaceChildren(
        card(
          h("h1", {}, join ? "This link does not open anything" : "This address does not sign you in"),
          h("p", {}, sentence(problem.message), " ", join ? "Ask whoever gave it to you for another one." : problem.hint),
          h("button", { type: "button", class: "primary", on: { click: () => done("#/") } }, "Continue"),
        ),
      );
    }
  };
  app.replaceChildren(card(h("h1", {}, join ? "Opening the session…" : "Signing in…")));
  if (!join) return use();
  let viewer = null;
  try {
    viewer = await get("/login", { quiet: true });
  } catch {
    return use();
  }
  app.replaceChildren(
    card(
      h("h1", {}, "Open somebody's session?"),
      h("p", {}, `You are signed in as ${viewer.user}. Opening the link signs you out in this browser, and shows the shared session alone.`),
      h(
        "div",
        { class: "actions" },
        action("Open it", { class: "primary" }, use, () => {}),
        h("button", { type: "button", on: { click: () => done("#/") } }, "Stay signed in"),
      ),
    ),
  );
}
