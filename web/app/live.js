// The sessions that this viewer sees, kept up to date by the launcher's events.
//
//   event stream opens ─▶ the list is read ─▶ what came meanwhile is applied ─▶ each event as it comes
//   the stream breaks ─▶ shown as such, opened again; a launcher that was restarted says `reset`: read anew

import { createParser } from "../vendor/eventsource-parser/index.js";
import { all, Problem, request, signedOut } from "./api.js";

const FIRST = 1000;
const LONGEST = 15000;

class Live extends EventTarget {
  sessions = new Map();
  // "connecting", "live" or "lost"
  state = "connecting";
  // The stream that is read now, to be ended by.
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
    this.#source?.abort();
    this.#source = null;
    this.sessions.clear();
  }

  // By a request of our own: the browser's reader of event streams sends no headers, and does not say why it is refused.
  async #open() {
    const source = new AbortController();
    this.#source = source;
    this.#waiting = [];
    try {
      const response = await request("GET", "/events", { headers: { Accept: "text/event-stream" }, signal: source.signal, quiet: true });
      this.#read(source);
      const parser = createParser({ onEvent: (event) => this.#take(source, event) });
      const text = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let piece = await text.read(); !piece.done; piece = await text.read()) parser.feed(piece.value);
    } catch (problem) {
      if (source !== this.#source) return;
      if (problem instanceof Problem && problem.status === 401) return signedOut.then();
    }
    if (source !== this.#source) return;
    this.#become("lost");
    this.#again();
  }

  #take(source, { event, data }) {
    if (source !== this.#source) return;
    if (event === "reset") this.#read(source);
    if (event !== "session") return;
    const change = JSON.parse(data);
    if (this.#waiting) this.#waiting.push(change);
    else this.#apply(change);
  }

  #again() {
    clearTimeout(this.#timer);
    const wait = this.#wait * (0.5 + Math.random() / 2);
    this.#wait = Math.min(this.#wait * 2, LONGEST);
    this.#timer = setTimeout(() => this.#open(), wait);
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
      // The stream's own end says the rest.
      source.abort();
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
