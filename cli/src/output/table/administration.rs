//! Tables of tokens, templates, backends and traces.

use serde_json::Value;
use wharf_protocol::api::{BackendStatus, Token, Trace};
use wharf_protocol::template::{LiveReport, StepResult, TemplateDetail, TemplateState, TemplateSummary};

use super::{Fields, Mood, cell, finish, moment, plain, table, when, words};
use crate::output::Output;
use crate::output::escape::{line, lines};

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
            cell(output, &message(output, template), Mood::Plain),
        ]);
    }
    finish(&mut table)
}

/// Why it is not `ok`, else which of its hooks fails and when it is tried again.
fn message(output: &Output, template: &TemplateSummary) -> String {
    let mut parts: Vec<String> = template.message.iter().cloned().collect();
    for failing in &template.failing {
        let again = failing.next_try.map(|at| format!(", next try {}", when(output, at))).unwrap_or_default();
        parts.push(format!(
            "{} failed {} times in a row{again}: {}",
            failing.hook, failing.failures, failing.error
        ));
    }
    parts.join("; ")
}

/// How the last conformance run went, in a line.
fn live(output: &Output, report: &LiveReport) -> (Mood, String) {
    let failed = report.steps.iter().filter(|step| step.result == StepResult::Failed).count();
    let (mood, went) = match (report.passed, report.outdated) {
        (true, false) => (Mood::Good, format!("passed, {} steps", report.steps.len())),
        (true, true) => (Mood::Waiting, "passed, but the template has changed since".to_owned()),
        (false, false) => (Mood::Bad, format!("{failed} of {} steps failed", report.steps.len())),
        (false, true) => (Mood::Bad, "failed; the template has changed since".to_owned()),
    };
    (mood, format!("{went} ({})", moment(output, report.ended_at)))
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
    if let Some(report) = &template.report {
        let (mood, text) = live(output, report);
        fields.styled("live test", &text, mood);
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
