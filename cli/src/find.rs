//! From what people type to a session's whole id: the id, a prefix of it, or a name.

use wharf_protocol::{ErrorCode, Problem, Session, SessionId};

use crate::client::calls::Query;
use crate::client::{Client, Reply};
use crate::failure::Outcome;

/// A shorter text counts as a name only.
const PREFIX: usize = 4;
/// So many candidates are named.
const CANDIDATES: usize = 10;

/// Finds the one session that is meant; live ones before ended ones.
pub(crate) async fn session(client: &Client, text: &str) -> Outcome<SessionId> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    for query in [Query::default(), Query::default().with("state", "ended")] {
        let all: Vec<Reply<Session>> = client.all("/sessions", query, None).await?;
        let found: Vec<&Session> =
            all.iter().map(|reply| &reply.value).filter(|session| is_meant(session, text)).collect();
        match found.as_slice() {
            [] => {}
            [one] => return Ok(one.id.clone()),
            several => return Err(ambiguous(text, several).into()),
        }
    }
    Err(unknown(text).into())
}

fn is_meant(session: &Session, text: &str) -> bool {
    session.name == text
        || text.len() >= PREFIX && session.id.as_str().starts_with(&text.to_ascii_lowercase())
}

fn unknown(text: &str) -> Problem {
    let problem = Problem::new(ErrorCode::UnknownSession, format!("there is no session {text:?}"));
    if text.len() < PREFIX {
        return problem.hint(format!("a prefix of an id needs {PREFIX} characters or more"));
    }
    problem.hint("see `wharf list`, or `wharf list --all` for those that have ended")
}

fn ambiguous(text: &str, candidates: &[&Session]) -> Problem {
    let mut lines: Vec<String> = candidates
        .iter()
        .take(CANDIDATES)
        .map(|session| format!("  {}  {}  created {}", session.id, session.name, session.created_at))
        .collect();
    if candidates.len() > CANDIDATES {
        lines.push(format!("  and {} more", candidates.len() - CANDIDATES));
    }
    let detail = format!("{text:?} means {} sessions:\n{}", candidates.len(), lines.join("\n"));
    Problem::new(ErrorCode::Usage, detail).hint("name one by its id")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_session(id: &str, name: &str) -> Session {
        serde_json::from_value(serde_json::json!({
            "id": id, "name": name, "owner": "a", "template": "t", "backend": "shell", "scheduler": "shell",
            "state": "pending", "phase": "recorded", "link": "none", "terminating": false, "reason": null,
            "job": null, "command": ["x"], "params": {}, "tags": {}, "connections": 0,
            "created_at": "2026-01-01T10:00:00Z", "submitted_at": null, "started_at": null, "ended_at": null,
            "end": null, "launcher": "n", "rev": 1, "params_rev": 1
        }))
        .unwrap()
    }

    #[test]
    fn prefixes_count_from_four_characters_and_names_always() {
        let session = a_session("k3v9x2m7q4t8w1z6b5n0", "k3");
        for text in ["k3", "k3v9", "K3V9X2", "k3v9x2m7q4t8w1z6b5n0"] {
            assert!(is_meant(&session, text), "{text}");
        }
        for text in ["k3v", "k3v8", "", "3v9x"] {
            assert!(!is_meant(&session, text), "{text}");
        }
    }

    #[test]
    fn candidates_are_named() {
        let (one, two) =
            (a_session("k3v9x2m7q4t8w1z6b5n0", "same"), a_session("m3v9x2m7q4t8w1z6b5n0", "same"));
        let problem = ambiguous("same", &[&one, &two]);
        assert_eq!(problem.exit_code(), 2);
        assert!(problem.detail.contains(one.id.as_str()) && problem.detail.contains(two.id.as_str()));
    }
}
