//! Tables for people: with colour and ages on a terminal, plain and exact when piped.
//!
//! What is about sessions is here, the rest in [`administration`].

pub(crate) mod administration;

use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table, Width, presets};
use jiff::Timestamp;
use serde_json::Value;
use wharf_protocol::api::{Connection, HistoryEntry, OpenStream, Role, Share};
use wharf_protocol::session::Params;
use wharf_protocol::{JobState, Link, Phase, Session, State, Time};

use super::Output;
use super::escape::line;

/// What a state looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Good,
    Waiting,
    Bad,
    Over,
    Plain,
}

fn cell(output: &Output, text: &str, mood: Mood) -> Cell {
    let cell = Cell::new(line(text));
    if !output.colour() {
        return cell;
    }
    match mood {
        Mood::Good => cell.fg(Color::Green),
        Mood::Waiting => cell.fg(Color::Yellow),
        Mood::Bad => cell.fg(Color::Red),
        Mood::Over => cell.add_attribute(Attribute::Dim),
        Mood::Plain => cell,
    }
}

fn table(output: &Output, heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    if output.colour() {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    if output.terminal {
        // A terminal that does not say how wide it is gets what terminals once were.
        let width = terminal_size::terminal_size().map_or(80, |(terminal_size::Width(width), _)| width);
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width.max(40));
    }
    if heads.is_empty() {
        return table;
    }
    table.set_header(heads.iter().map(|head| {
        let cell = Cell::new(*head);
        if output.colour() { cell.add_attribute(Attribute::Bold) } else { cell }
    }));
    table
}

/// Narrower, the words of the last column are no help.
const WORDS: u16 = 24;

/// Ids, names and addresses stay whole, to be copied; only the words of the last column are broken.
fn finish(table: &mut Table) -> String {
    let columns = table.column_count();
    for (at, column) in table.column_iter_mut().enumerate() {
        let last = at + 1 == columns;
        column.set_padding((0, if last { 0 } else { 2 }));
        column.set_constraint(if last {
            ColumnConstraint::LowerBoundary(Width::Fixed(WORDS))
        } else {
            ColumnConstraint::ContentWidth
        });
    }
    table.trim_fmt()
}

/// As [`finish`], with a last column that must stay whole too.
fn finish_whole(table: &mut Table) -> String {
    table.set_content_arrangement(ContentArrangement::Disabled);
    finish(table)
}

/// A time: how long ago on a terminal, exactly when piped.
pub(crate) fn when(output: &Output, at: Time) -> String {
    if output.terminal { age(at) } else { at.to_string() }
}

/// The same in a sentence of its own.
fn moment(output: &Output, at: Time) -> String {
    let text = when(output, at);
    if output.terminal && !text.starts_with("in ") { format!("{text} ago") } else { text }
}

fn age(at: Time) -> String {
    let now: Time = Timestamp::now().into();
    let (seconds, after) = if at > now { (at.since(now), true) } else { (now.since(at), false) };
    let seconds = seconds.as_secs();
    let text = match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    };
    if after { format!("in {text}") } else { text }
}

/// A pending session's phase in words.
pub(crate) const fn phase(phase: Option<Phase>) -> &'static str {
    match phase {
        Some(Phase::Recorded) => "recorded",
        Some(Phase::Preparing) => "preparing",
        Some(Phase::Submitting) => "submitting",
        Some(Phase::Submitted) => "submitted",
        Some(Phase::Unknown) => "unknown",
        None => "pending",
    }
}

/// A job's state in words.
pub(crate) const fn job_state(state: JobState) -> &'static str {
    match state {
        JobState::Queued => "queued",
        JobState::Held => "held",
        JobState::Starting => "starting",
        JobState::Running => "running",
        JobState::Suspended => "suspended",
        JobState::Completing => "completing",
        JobState::Ended => "ended",
        JobState::Gone => "gone",
        JobState::Unknown => "unknown",
    }
}

fn state(session: &Session) -> (String, Mood) {
    match session.state {
        State::Pending if session.terminating => ("pending, terminating".to_owned(), Mood::Waiting),
        State::Pending => match session.phase {
            Some(Phase::Submitted) | None => ("pending".to_owned(), Mood::Waiting),
            Some(Phase::Unknown) => ("pending (unknown)".to_owned(), Mood::Bad),
            Some(Phase::Recorded | Phase::Preparing | Phase::Submitting) => {
                (format!("pending ({})", phase(session.phase)), Mood::Waiting)
            }
        },
        State::Running if session.terminating => ("running, terminating".to_owned(), Mood::Waiting),
        State::Running => match session.link {
            Link::Connected => ("running".to_owned(), Mood::Good),
            Link::Lost | Link::None => ("running (link lost)".to_owned(), Mood::Bad),
        },
        State::Ended => {
            let cause = session.end.as_ref().map_or("", |end| end.cause.as_str());
            (format!("ended ({cause})"), Mood::Over)
        }
    }
}

/// Why it is as it is.
fn word(session: &Session) -> String {
    if let Some(end) = &session.end {
        return end.message.clone();
    }
    match (&session.reason, &session.job) {
        (Some(reason), _) => reason.message.clone(),
        (None, Some(job)) => job.reason.clone().unwrap_or_default(),
        (None, None) => String::new(),
    }
}

/// The same with what a list has no column for: a pending one's place in the queue and its expected start, when a
/// running one's time is over.
fn outlook(output: &Output, session: &Session) -> String {
    let mut parts: Vec<String> = Some(word(session)).filter(|word| !word.is_empty()).into_iter().collect();
    if let Some(job) = &session.job {
        let (place, at) = match session.state {
            State::Pending => {
                (job.position, job.starts_at.map(|at| format!("expected {}", when(output, at))))
            }
            State::Running => (None, job.ends_at.map(|at| format!("ends {}", when(output, at)))),
            State::Ended => (None, None),
        };
        parts.extend(place.map(|place| format!("place {place}")));
        parts.extend(at);
    }
    parts.join("; ")
}

/// `list`.
pub(crate) fn sessions(output: &Output, sessions: &[Session]) -> String {
    if sessions.is_empty() && output.terminal {
        return "no sessions; start one with: wharf start TEMPLATE (wharf template list)".to_owned();
    }
    let created = if output.terminal { "AGE" } else { "CREATED" };
    let mut table = table(output, &["ID", "NAME", "TEMPLATE", "STATE", "JOB", created, "REASON"]);
    for session in sessions {
        let (state, mood) = state(session);
        let job = session.job.as_ref().map_or("", |job| job.id.as_str());
        table.add_row([
            cell(output, session.id.as_str(), Mood::Plain),
            cell(output, &session.name, Mood::Plain),
            cell(output, &session.template, Mood::Plain),
            cell(output, &state, mood),
            cell(output, job, Mood::Over),
            cell(output, &when(output, session.created_at), Mood::Plain),
            cell(output, &outlook(output, session), Mood::Plain),
        ]);
    }
    finish(&mut table)
}

/// `show` and everything that answers with one session.
pub(crate) fn session(output: &Output, session: &Session, open: &[OpenStream]) -> String {
    let mut fields = Fields::new(output);
    let (state, mood) = state(session);
    fields.add("id", session.id.as_str());
    fields.add("name", &session.name);
    fields.add("owner", &session.owner);
    fields.add("template", &session.template);
    fields.styled("state", &state, mood);
    let reason = word(session);
    fields.add("reason", &reason);
    if let Some(job) = &session.job {
        let mut text = format!("{} {}", job.id, job_state(job.state));
        // In the scheduler's own word too, where that is another one.
        let shown = job_state(job.state);
        if let Some(raw) =
            job.raw.as_deref().filter(|raw| !raw.is_empty() && !raw.eq_ignore_ascii_case(shown))
        {
            text.push_str(&format!(" ({raw})"));
        }
        // What stands in the line above need not be said again.
        let own = job.reason.clone().filter(|own| *own != reason);
        for (label, more) in [("on ", &job.node), ("reason ", &own)] {
            if let Some(more) = more.as_deref().filter(|more| !more.is_empty()) {
                text.push_str(&format!(", {label}{more}"));
            }
        }
        fields.add("job", &text);
        if let (State::Pending, Some(place)) = (session.state, job.position) {
            fields.add("place in queue", &place.to_string());
        }
        if let (State::Pending, Some(at)) = (session.state, job.starts_at) {
            fields.add("expected start", &moment(output, at));
        }
        if let Some(at) = job.ends_at.filter(|_| session.state != State::Ended) {
            fields.add("job ends", &moment(output, at));
        }
    }
    fields.add("command", &words(&session.command));
    for (key, value) in &session.params {
        fields.add(&format!("param {key}"), &plain(value));
    }
    for (key, value) in &session.tags {
        fields.add(&format!("tag {key}"), value);
    }
    if session.connections > 0 {
        fields.add("connections", &session.connections.to_string());
    }
    for stream in open {
        let kind = serde_json::to_value(stream.kind).unwrap_or_default();
        let endpoint = stream.endpoint.as_deref().map_or_else(String::new, |name| format!(" {name}"));
        let looks = if stream.role == Role::View { ", looking" } else { "" };
        let since = moment(output, stream.since);
        fields.add("is in", &format!("{}: {}{endpoint}{looks}, since {since}", stream.user, plain(&kind)));
    }
    fields.add("created", &moment(output, session.created_at));
    for (label, at) in
        [("submitted", session.submitted_at), ("started", session.started_at), ("ended", session.ended_at)]
    {
        if let Some(at) = at {
            fields.add(label, &moment(output, at));
        }
    }
    if let Some(end) = &session.end {
        if let Some(code) = end.exit_code {
            fields.add("exit code", &code.to_string());
        }
        if let Some(signal) = end.signal {
            fields.add("signal", &signal.to_string());
        }
    }
    fields.add("launcher", &session.launcher);
    fields.finish()
}

/// A command line, readable.
fn words(argv: &[String]) -> String {
    let plain = |word: &str| {
        !word.is_empty()
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./=:,+@%".contains(&byte))
    };
    let quoted =
        |word: &String| if plain(word) { word.clone() } else { format!("'{}'", word.replace('\'', "'\\''")) };
    argv.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// A parameter's value without the quotes of JSON.
pub(crate) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Names and values below each other.
struct Fields<'a> {
    output: &'a Output,
    table: Table,
}

impl<'a> Fields<'a> {
    fn new(output: &'a Output) -> Self {
        Self { output, table: table(output, &[]) }
    }

    fn add(&mut self, name: &str, value: &str) {
        self.styled(name, value, Mood::Plain);
    }

    fn styled(&mut self, name: &str, value: &str, mood: Mood) {
        if !value.is_empty() {
            self.table.add_row([cell(self.output, name, Mood::Over), cell(self.output, value, mood)]);
        }
    }

    fn finish(mut self) -> String {
        finish(&mut self.table)
    }
}

/// `params`.
pub(crate) fn params(output: &Output, params: &Params) -> String {
    let mut fields = Fields::new(output);
    for (key, value) in params {
        fields.add(key, &plain(value));
    }
    fields.finish()
}

/// `connect`.
pub(crate) fn connection(output: &Output, connection: &Connection) -> String {
    let mut table = table(output, &["NAME", "KIND", "ADDRESS"]);
    for endpoint in &connection.endpoints {
        let kind = serde_json::to_value(endpoint.kind).unwrap_or_default();
        table.add_row([
            cell(output, &endpoint.name, Mood::Plain),
            cell(output, &plain(&kind), Mood::Plain),
            cell(output, &endpoint.url, Mood::Plain),
        ]);
    }
    finish_whole(&mut table)
}

/// `share --list`.
pub(crate) fn shares(output: &Output, shares: &[Share]) -> String {
    let mut table = table(output, &["ID", "WITH", "ROLE", "EXEC", "EXPIRES"]);
    for share in shares {
        let role = plain(&serde_json::to_value(share.role).unwrap_or_default());
        let expires = share.expires_at.map_or_else(|| "never".to_owned(), |at| when(output, at));
        table.add_row([
            cell(output, share.id.as_str(), Mood::Plain),
            cell(output, &share.grantee, Mood::Plain),
            cell(output, &role, Mood::Plain),
            cell(output, if share.exec { "yes" } else { "no" }, Mood::Plain),
            cell(output, &expires, Mood::Plain),
        ]);
    }
    finish(&mut table)
}

/// `history`: one line an entry.
pub(crate) fn history(output: &Output, entries: &[HistoryEntry]) -> String {
    let mut table = table(output, &["AT", "WHAT", "WHO", "DETAIL", "TRACE"]);
    for entry in entries {
        table.add_row([
            cell(output, &when(output, entry.at), Mood::Over),
            cell(output, &entry.event, Mood::Plain),
            cell(output, &entry.actor, Mood::Plain),
            cell(output, &entry.detail, Mood::Plain),
            cell(output, entry.trace_id.as_deref().unwrap_or_default(), Mood::Over),
        ]);
    }
    finish(&mut table)
}

#[cfg(test)]
mod tests;
