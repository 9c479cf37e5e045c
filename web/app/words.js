// What the launcher's words mean to people: states, reasons, ends, ages.

const PHASES = {
  recorded: "Recorded",
  preparing: "Preparing",
  submitting: "Submitting",
  submitted: "Waiting",
  unknown: "Being looked up",
};

// How a session is, in a word, and its tone: wait, good, warn, over, bad.
export function state(session) {
  if (session.state === "ended") {
    const good = ["terminated", "idle"].includes(session.end?.cause) || session.end?.exit_code === 0;
    return { word: "Ended", tone: good ? "over" : "bad" };
  }
  if (session.terminating) return { word: "Ending", tone: "warn" };
  if (session.state === "running") {
    return session.link === "lost" ? { word: "Out of touch", tone: "warn" } : { word: "Running", tone: "good" };
  }
  return { word: PHASES[session.phase] || "Pending", tone: "wait" };
}

const CAUSES = {
  exited: (end) => (end.exit_code === 0 ? "its command is done" : `its command ended with exit code ${end.exit_code}`),
  signaled: (end) => `its command was ended by signal ${end.signal}`,
  terminated: () => "it was ended on request",
  submit_failed: () => "the scheduler did not take it",
  never_registered: () => "its job came to nothing",
  vanished: () => "its job is gone",
  timeout: () => "its time was over",
  out_of_memory: () => "it ran out of memory",
  node_failed: () => "its machine failed",
  preempted: () => "its place was given to somebody else",
  idle: () => "nobody was in it for long",
};

// Why it is as it is, in a sentence; empty when there is nothing to say.
export function reason(session) {
  if (session.state === "ended" && session.end) {
    const why = CAUSES[session.end.cause]?.(session.end) || session.end.cause;
    // What only says the cause again is left out.
    const said = ["exited", "signaled"].includes(session.end.cause) && /^the command /.test(session.end.message) ? "" : session.end.message;
    return said && said !== why ? `${sentence(why)} ${sentence(said)}` : sentence(why);
  }
  if (session.state === "running" && session.link === "lost" && !session.reason) {
    return "The session goes on where it runs; its monitor is dialling back.";
  }
  const parts = [];
  if (session.reason?.message) parts.push(sentence(session.reason.message));
  if (session.state === "pending" && session.job?.position) parts.push(`Place ${session.job.position} in the queue.`);
  if (session.state === "pending" && session.job?.starts_at) parts.push(`Expected to start ${when(session.job.starts_at)}.`);
  return parts.join(" ");
}

// With a capital and a full stop.
export function sentence(text) {
  const trimmed = String(text).trim();
  if (!trimmed) return "";
  // The name of a file or a program keeps its letters.
  const begun = /^[a-z']+([\s,;]|$)/.test(trimmed) ? trimmed[0].toUpperCase() + trimmed.slice(1) : trimmed;
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}

// A span of milliseconds, in its two largest units.
export function span(milliseconds) {
  let seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 1) return "now";
  const parts = [];
  for (const [name, size] of [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]) {
    const count = Math.floor(seconds / size);
    if (count > 0) parts.push(`${count} ${name}`);
    seconds -= count * size;
    if (parts.length === 2 || (parts.length === 1 && name !== "d" && name !== "h")) break;
  }
  return parts.join(" ");
}

export const age = (time) => span(Date.now() - Date.parse(time));

// Ten minutes, as the launcher warns of.
const SOON = 600_000;

// How long a job may still run, when it is limited: in words, and whether that is not long.
export function timeLeft(session) {
  const ends = session.job?.ends_at;
  if (!ends || session.state !== "running") return null;
  const left = Date.parse(ends) - Date.now();
  return { text: left > 0 ? `${span(left)} left` : "its time is over", soon: left < SOON };
}

const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const SHORT = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

export const full = (time) => FULL.format(new Date(time));

// A moment soon: the time of day, with the date when it is another one.
export function when(time) {
  const moment = new Date(time);
  const today = moment.toDateString() === new Date().toDateString();
  return today ? `at ${SHORT.format(moment)}` : FULL.format(moment);
}

// A command as people write it: words with anything unusual in them are quoted.
export function command(words) {
  return (words || [])
    .map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`))
    .join(" ");
}

// The words of a command as people write it: blanks part them, quotes and backslashes keep them together.
// Nothing in it is expanded. Null when a quote is left open.
export function split(text) {
  const words = [];
  let word = null;
  let quote = null;
  for (let at = 0; at < text.length; at += 1) {
    const letter = text[at];
    if (quote) {
      if (letter === quote) quote = null;
      else if (letter === "\\" && quote === '"' && /["\\]/.test(text[at + 1] || "")) word += text[(at += 1)];
      else word += letter;
    } else if (letter === "'" || letter === '"') {
      quote = letter;
      word ??= "";
    } else if (letter === "\\" && at + 1 < text.length) {
      word = (word ?? "") + text[(at += 1)];
    } else if (/\s/.test(letter)) {
      if (word !== null) words.push(word);
      word = null;
    } else {
      word = (word ?? "") + letter;
    }
  }
  if (quote) return null;
  if (word !== null) words.push(word);
  return words;
}

// Whom a share is with.
export function grantee(text) {
  if (text === "link") return "Whoever has the link";
  const [kind, name] = [text.slice(0, text.indexOf(":")), text.slice(text.indexOf(":") + 1)];
  return kind === "group" ? `Group ${name}` : name;
}
