//! Tables for people: with colour and ages on a terminal, plain and exact when piped.

use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table, Width, presets};
use jiff::Timestamp;
use serde_json::Value;
use wharf_protocol::api::{BackendStatus, Connection, HistoryEntry, Share, Token, Trace};
use wharf_protocol::session::Params;
use wharf_protocol::template::{TemplateDetail, TemplateState, TemplateSummary};
use wharf_protocol::{JobState, Link, Phase, Session, State, Time};

use super::Output;
use super::escape::{line, lines};

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
            cell(output, &word(session), Mood::Plain),
        ]);
    }
    finish(&mut table)
}

/// `show` and everything that answers with one session.
pub(crate) fn session(output: &Output, session: &Session) -> String {
    let mut fields = Fields::new(output);
    let (state, mood) = state(session);
    fields.add("id", session.id.as_str());
    fields.add("name", &session.name);
    fields.add("owner", &session.owner);
    fields.add("template", &session.template);
    fields.styled("state", &state, mood);
    fields.add("reason", &word(session));
    if let Some(job) = &session.job {
        let mut text = format!("{} {}", job.id, job_state(job.state));
        for (label, more) in [("", &job.raw), ("on ", &job.node), ("reason ", &job.reason)] {
            if let Some(more) = more.as_deref().filter(|more| !more.is_empty()) {
                text.push_str(&format!(", {label}{more}"));
            }
        }
        fields.add("job", &text);
        if let Some(at) = job.starts_at {
            fields.add("starts", &moment(output, at));
        }
        if let Some(at) = job.ends_at {
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

/// `token list`.
pub(crate) fn tokens(output: &Output, tokens: &[Token]) -> String {
    let mut table = table(output, &["ID", "NAME", "USER", "SCOPE", "CREATED", "EXPIRES"]);
    for token in tokens {
        let scope = plain(&serde_json::to_value(token.scope).unwrap_or_default());
        let expires = token.expires_at.map_or_else(|| "never".to_owned(), |at| when(output, at));
        table.add_row([
            cell(output, token.id.as_str(), Mood::Plain),
            cell(output, &token.name, Mood::Plain),
            cell(output, &token.user, Mood::Plain),
            cell(output, &scope, Mood::Plain),
            cell(output, &when(output, token.created_at), Mood::Plain),
            cell(output, &expires, Mood::Plain),
        ]);
    }
    finish(&mut table)
}

fn template_state(state: TemplateState) -> (&'static str, Mood) {
    match state {
        TemplateState::Ok => ("ok", Mood::Good),
        TemplateState::Stale => ("stale", Mood::Waiting),
        TemplateState::Broken => ("broken", Mood::Bad),
        TemplateState::Disabled => ("disabled", Mood::Over),
    }
}

/// `template list`.
pub(crate) fn templates(output: &Output, templates: &[TemplateSummary]) -> String {
    let mut table = table(output, &["NAME", "TITLE", "BACKEND", "STATE", "FROM", "MESSAGE"]);
    for template in templates {
        let (state, mood) = template_state(template.state);
        table.add_row([
            cell(output, &template.name, Mood::Plain),
            cell(output, &template.title, Mood::Plain),
            cell(output, &template.backend, Mood::Plain),
            cell(output, state, mood),
            cell(output, &template.origin, Mood::Over),
            cell(output, template.message.as_deref().unwrap_or_default(), Mood::Plain),
        ]);
    }
    finish(&mut table)
}

/// `template show`.
pub(crate) fn template(output: &Output, template: &TemplateDetail) -> String {
    let mut fields = Fields::new(output);
    let (state, mood) = template_state(template.state);
    fields.add("name", &template.name);
    fields.add("title", &template.title);
    fields.add("description", template.description.as_deref().unwrap_or_default());
    fields.add("backend", &template.backend);
    fields.add("scheduler", &template.scheduler);
    fields.styled("state", state, mood);
    if let Some(command) = template.command.get("default").and_then(Value::as_array) {
        let argv: Vec<String> = command.iter().map(plain).collect();
        fields.add("command", &words(&argv));
    }
    if let Some(endpoints) = template.connect.as_object() {
        for (name, endpoint) in endpoints {
            let kind = endpoint.get("kind").map(plain).unwrap_or_default();
            fields.add(&format!("endpoint {name}"), &kind);
        }
    }
    let mut text = fields.finish();
    if let Some(params) =
        template.schema.get("properties").and_then(Value::as_object).filter(|all| !all.is_empty())
    {
        let required = template.schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut rows = table(output, &["PARAMETER", "TYPE", "DEFAULT", "MEANING"]);
        for (name, spec) in params {
            let member = |member: &str| spec.get(member).map(plain).unwrap_or_default();
            let kind = if spec.get("x-kind").is_some() { member("x-kind") } else { member("type") };
            let default = if required.contains(&Value::from(name.as_str())) {
                "(required)".to_owned()
            } else {
                member("default")
            };
            let meaning = [member("title"), member("description")];
            let meaning: Vec<&str> =
                meaning.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
            rows.add_row([
                cell(output, name, Mood::Plain),
                cell(output, &kind, Mood::Plain),
                cell(output, &default, Mood::Plain),
                cell(output, &meaning.join(": "), Mood::Plain),
            ]);
        }
        text.push_str(&format!("\n\n{}", finish(&mut rows)));
    }
    for finding in &template.findings {
        let at = finding.line.map(|line| format!(":{line}")).unwrap_or_default();
        let severity = plain(&serde_json::to_value(finding.severity).unwrap_or_default());
        text.push_str(&format!("\n{}{at}: {severity}: {}", line(&finding.file), line(&finding.message)));
    }
    text
}

/// `backend list`.
pub(crate) fn backends(output: &Output, backends: &[BackendStatus]) -> String {
    let mut table = table(output, &["NAME", "HEALTH", "TEMPLATES", "CAN", "LAST ERROR"]);
    for backend in backends {
        let (health, mood) = match backend.healthy {
            Some(true) => ("ok", Mood::Good),
            Some(false) => ("down", Mood::Bad),
            None => ("not asked yet", Mood::Waiting),
        };
        let health = match backend.next_try {
            Some(at) => format!("{health}, next try {}", when(output, at)),
            None => health.to_owned(),
        };
        table.add_row([
            cell(output, &backend.name, Mood::Plain),
            cell(output, &health, mood),
            cell(output, &backend.templates.join(" "), Mood::Plain),
            cell(output, &backend.capabilities.join(" "), Mood::Over),
            cell(output, backend.last_error.as_deref().unwrap_or_default(), Mood::Plain),
        ]);
    }
    finish(&mut table)
}

/// `trace`: readable text.
pub(crate) fn trace(output: &Output, trace: &Trace) -> String {
    let mut fields = Fields::new(output);
    fields.add("trace", &trace.id);
    fields.add("hook", &format!("{} of template {}", trace.hook, trace.template));
    fields.add("session", trace.session_id.as_ref().map(|id| id.as_str()).unwrap_or_default());
    fields.add("began", &moment(output, trace.started_at));
    fields.add("took", &format!("{} ms", trace.duration_ms));
    let mood = if trace.outcome == "ok" { Mood::Good } else { Mood::Bad };
    fields.styled("outcome", &trace.outcome, mood);
    let mut text = fields.finish();
    let mut section = |title: &str, body: &str| {
        if !body.trim().is_empty() {
            text.push_str(&format!("\n\n{title}\n{}", indented(body)));
        }
    };
    section("detail", &trace.detail);
    for command in &trace.commands {
        let end = match (command.status, command.signal) {
            (_, Some(signal)) => format!("signal {signal}"),
            (Some(status), None) => format!("exit {status}"),
            (None, None) => "no exit".to_owned(),
        };
        let said = [("", &command.stdout), ("! ", &command.stderr)]
            .map(|(mark, said)| said.lines().map(|said| format!("  {mark}{said}\n")).collect::<String>());
        let body = format!("{}\n{}{}", words(&command.argv), said[0], said[1]);
        section(&format!("command ({}, {end}, {} ms)", command.effect, command.duration_ms), &body);
    }
    section("log", &trace.log);
    text
}

fn indented(text: &str) -> String {
    lines(text.trim_end()).lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
