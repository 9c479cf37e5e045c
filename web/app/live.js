// The sessions that this viewer sees, kept up to date by the launcher's events.
//
//   event stream opens ─▶ the list is read ─▶ what came meanwhile is applied ─▶ each event as it comes
//   the stream breaks ─▶ shown as such, opened again; a launcher that was restarted says `reset`: read anew

import { all, get, Problem, signedOut } from "./api.js";

const FIRST = 1000;
const LONGEST = 15000;

class Live extends EventTarget {
  sessions = new Map();
  // "connecting", "live" or "lost"
  state = "connecting";
  #source = null;
  #wait = FIRST;
  #timer = 0;
  #waiting = null;
  #frame = 0;

  start() {
    this.stop();
    this.#open();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
    this.sessions.clear();
  }

  #open() {
    const source = new EventSource("/api/v1/events");
    this.#source = source;
    this.#waiting = [];
    source.addEventListener("open", () => this.#read(source));
    source.addEventListener("reset", () => this.#read(source));
    source.addEventListener("session", (message) => {
      const event = JSON.parse(message.data);
      if (this.#waiting) this.#waiting.push(event);
      else this.#apply(event);
    });
    source.addEventListener("error", () => {
      if (source !== this.#source) return;
      this.#become("lost");
      source.close();
      this.#again();
    });
  }

  #again() {
    clearTimeout(this.#timer);
    const wait = this.#wait * (0.5 + Math.random() / 2);
    this.#wait = Math.min(this.#wait * 2, LONGEST);
    this.#timer = setTimeout(async () => {
      try {
        // An event stream does not say why it is refused.
        await get("/login", { quiet: true });
        this.#open();
      } catch (problem) {
        if (problem instanceof Problem && problem.status === 401) signedOut.then();
        else this.#again();
      }
    }, wait);
  }

  async #read(source) {
    this.#waiting ??= [];
    try {
      const items = await all("/sessions");
      if (source !== this.#source) return;
      const ended = [...this.sessions.values()].filter((session) => session.state === "ended");
      this.sessions = new Map([...items, ...ended].map((session) => [session.id, session]));
      const waiting = this.#waiting;
      this.#waiting = null;
      waiting.forEach((event) => this.#apply(event));
      this.#wait = FIRST;
      this.#become("live");
    } catch {
      if (source !== this.#source) return;
      source.close();
      this.#become("lost");
      this.#again();
    }
  }

  #apply({ type, session }) {
    if (type === "delete") {
      this.sessions.delete(session.id);
      this.dispatchEvent(new CustomEvent("gone", { detail: session.id }));
    } else {
      this.sessions.set(session.id, session);
    }
    this.changed();
  }

  // A session that was just read or made here: shown at once.
  put(session) {
    const known = this.sessions.get(session.id);
    if (!known || known.rev <= session.rev) this.sessions.set(session.id, session);
    this.changed();
  }

  #become(state) {
    this.state = state;
    this.changed();
  }

  // Many events in one frame are shown once. A timer, not a frame: pages in the background are kept true as well.
  changed() {
    this.#frame ||= setTimeout(() => {
      this.#frame = 0;
      this.dispatchEvent(new Event("change"));
    }, 16);
  }
}

export const live = new Live();
