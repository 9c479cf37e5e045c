// Users' streams over WebSockets: text frames are control messages, binary frames are a channel's byte and data.
// A stream that must last opens itself again; why it ended for good is asked of the API, since browsers do not tell.

import { get, Problem, session, signedOut, streamAddress, streamProtocols } from "./api.js";

const FIRST = 500;
const LONGEST = 10000;
// What no second try makes better.
const FINAL = ["session_ended", "session_terminating", "unknown_session", "no_terminal", "forbidden", "unauthenticated", "unknown_endpoint"];

// One stream. Events: open, data (channel, bytes), control (message), closed (problem or null).
export class Stream extends EventTarget {
  #socket;
  #problem = null;
  #over = false;

  constructor(path) {
    super();
    this.#socket = new WebSocket(streamAddress(path), streamProtocols());
    this.#socket.binaryType = "arraybuffer";
    this.#socket.addEventListener("open", () => this.#say("open"));
    this.#socket.addEventListener("message", ({ data }) => this.#take(data));
    this.#socket.addEventListener("close", ({ code }) => {
      this.#over = true;
      this.#say("closed", { code, problem: this.#problem });
    });
  }

  #take(data) {
    if (typeof data === "string") {
      const message = JSON.parse(data);
      if (message.error) this.#problem = message.error;
      this.#say("control", message);
    } else if (data.byteLength > 0) {
      const bytes = new Uint8Array(data);
      this.#say("data", { channel: bytes[0], bytes: bytes.subarray(1) });
    }
  }

  #say(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  get isOpen() {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  get buffered() {
    return this.#socket.bufferedAmount;
  }

  send(bytes) {
    if (!this.isOpen) return;
    const frame = new Uint8Array(bytes.length + 1);
    frame.set(bytes, 1);
    this.#socket.send(frame);
  }

  control(message) {
    if (this.isOpen) this.#socket.send(JSON.stringify(message));
  }

  close() {
    if (!this.#over) this.#socket.close(1000);
  }
}

// A stream of a session that opens itself again until it is over. `on`: opened(stream), data(channel, bytes),
// control(message), waiting(why), over(message). The launcher may restart meanwhile: the session does not.
export class Lasting {
  #id;
  #path;
  #on;
  #stream = null;
  #timer = 0;
  #wait = FIRST;
  #stopped = false;

  constructor(id, path, on) {
    this.#id = id;
    this.#path = path;
    this.#on = on;
    this.#open();
  }

  get stream() {
    return this.#stream;
  }

  #open() {
    let exit = false;
    const stream = new Stream(session(this.#id, this.#path));
    this.#stream = stream;
    stream.addEventListener("open", () => {
      this.#wait = FIRST;
      this.#on.opened?.(stream);
    });
    stream.addEventListener("data", ({ detail }) => this.#on.data?.(detail.channel, detail.bytes));
    stream.addEventListener("control", ({ detail }) => {
      exit ||= Boolean(detail.exit);
      this.#on.control?.(detail);
    });
    stream.addEventListener("closed", ({ detail }) => {
      if (this.#stopped) return;
      if (exit) return this.#end("The session's command has ended.");
      if (detail.problem && FINAL.includes(detail.problem.code)) return this.#end(detail.problem.detail);
      this.#on.waiting?.(detail.problem?.detail || "The connection is lost. Trying again…");
      this.#timer = setTimeout(() => this.#again(), this.#wait * (0.5 + Math.random() / 2));
      this.#wait = Math.min(this.#wait * 2, LONGEST);
    });
  }

  async #again() {
    let found;
    try {
      found = await get(session(this.#id), { quiet: true });
    } catch (problem) {
      if (this.#stopped) return;
      if (problem instanceof Problem && problem.status === 401) return signedOut.then();
      if (problem instanceof Problem && problem.status === 404) {
        return this.#end("The session is no longer there, or no longer shared with you.");
      }
    }
    if (this.#stopped) return;
    if (found?.state === "ended") return this.#end("The session has ended.");
    if (found && (found.state !== "running" || found.link !== "connected")) {
      this.#on.waiting?.("The session cannot be reached now. Trying again…");
      this.#timer = setTimeout(() => this.#again(), 1000);
      return;
    }
    this.#open();
  }

  #end(message) {
    this.stop();
    this.#on.over?.(message);
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#stream?.close();
  }
}

// A tunnel as noVNC wants its channel: the shape of a WebSocket, with plain bytes.
export class Tunnel {
  binaryType = "arraybuffer";
  protocol = "";
  onopen = null;
  onmessage = null;
  onerror = null;
  onclose = null;
  #stream;
  #state = "connecting";

  constructor(id, endpoint) {
    this.#stream = new Stream(session(id, `/tunnel/${encodeURIComponent(endpoint)}`));
    this.#stream.addEventListener("open", () => {
      this.#state = "open";
      this.onopen?.();
    });
    this.#stream.addEventListener("data", ({ detail }) => {
      this.onmessage?.({ data: detail.bytes.slice().buffer });
    });
    this.#stream.addEventListener("control", ({ detail }) => detail.eof && this.close());
    this.#stream.addEventListener("closed", ({ detail }) => {
      this.#state = "closed";
      this.problem = detail.problem;
      this.onclose?.({ code: detail.code, reason: detail.problem?.detail || "", wasClean: detail.code === 1000 });
    });
  }

  get readyState() {
    return this.#state;
  }

  get bufferedAmount() {
    return this.#stream.buffered;
  }

  send(data) {
    this.#stream.send(data instanceof Uint8Array ? data : new Uint8Array(data.buffer || data));
  }

  close() {
    this.#stream.close();
  }
}
