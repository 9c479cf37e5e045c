// Ending a session, forgetting its record, or giving it more time. The two ways out differ in what they destroy,
// which is said where one chooses.

import { post, session as at } from "../api.js";
import { action, h } from "../dom.js";
import { live } from "../live.js";
import { dialog, notify, tell } from "../notice.js";
import { sentence } from "../words.js";

export function ending(session) {
  const over = session.state === "ended";
  const waiting = session.state === "pending";
  dialog(over ? `Forget ${session.name}?` : `End ${session.name}?`, (close) => {
    const wrong = h("div", { class: "summary", role: "alert" });
    const fail = (problem) => {
      const after = problem.retryAfter ? ` Try again in ${problem.retryAfter} s.` : "";
      wrong.replaceChildren(h("p", {}, sentence(problem.message), " ", problem.hint && sentence(problem.hint), after));
    };
    const terminate = async () => {
      const answer = await post(at(session.id, "/terminate?wait=5s"));
      live.put(answer);
      close();
      notify(answer.state === "ended" ? `${session.name} has ended` : `${session.name} is ending`);
    };
    const purge = async () => {
      await post(at(session.id, "/purge"));
      close();
      location.hash = "#/";
      notify(`${session.name} is forgotten`);
    };
    return [
      !over && [
        h("section", {}, h("h3", {}, "Terminate: ends it"), h("p", {}, waiting
          ? "The scheduler is told to cancel its job. The session then stays in the history for a while, and never runs."
          : "Its command is asked to end, then made to. What runs in it and is not saved is lost. The session stays in the history for a while, and never runs again."),
        action("Terminate", { class: "danger" }, terminate, fail)),
      ],
      h("section", {}, h("h3", {}, over ? "Purge: forgets the record" : "Purge: forgets a record that nobody answers for"), h("p", {}, over
        ? "Its logs, history and parameters are deleted. That cannot be undone."
        : waiting
          ? "Nothing is cancelled, and no scheduler is asked: only Wharf forgets it. If its job starts all the same, the session comes back with the same id."
          : "Ends nothing. While the session answers, this is refused; when it does not, Wharf forgets it. If it turns up again, it comes back with the same id."),
      action("Purge", {}, purge, fail)),
      wrong,
    ];
  });
}

export function extend(session) {
  dialog(`More time for ${session.name}`, (close) => {
    const by = h("select", { id: "extend-by" }, ["30m", "1h", "2h", "4h", "8h", "1d"].map((span) => h("option", { value: span }, span)));
    by.value = "1h";
    const give = async () => {
      await post(at(session.id, "/extend"), { by: by.value });
      close();
      notify("The session has more time");
    };
    return [
      h("div", { class: "field" }, h("label", { for: "extend-by" }, "By how much"), by),
      h("div", { class: "actions" }, action("Give it more time", { class: "primary" }, give, tell)),
    ];
  });
}
