//! Every way to be refused: one table of codes, their HTTP status and exit code, and the problem
//! document (RFC 9457) that carries one.
//!
//! Each code has a page in `docs/errors/`; a test holds the pages against [`ErrorCode::ALL`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::TraceId;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $status:literal, $title:literal;)*) => {
        /// A stable code for programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $word)] $name,)*
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// The usual HTTP status.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// A short text that is the same for every occurrence.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    /// The request cannot be read.
    Malformed = "malformed", 400, "The request cannot be read";
    /// The cursor of a list is not one of ours.
    BadCursor = "bad_cursor", 400, "The cursor is not valid";
    /// A stream's client sent what cannot be understood.
    BadMessage = "bad_message", 400, "The message cannot be understood";
    /// No credential, or none that is valid.
    Unauthenticated = "unauthenticated", 401, "Sign in first";
    /// The caller may know of it and may not do it.
    Forbidden = "forbidden", 403, "Not allowed";
    /// No such route.
    NotFound = "not_found", 404, "No such thing";
    /// No such session, or none that the caller may know of.
    UnknownSession = "unknown_session", 404, "No such session";
    /// No such share.
    UnknownShare = "unknown_share", 404, "No such share";
    /// No such token.
    UnknownToken = "unknown_token", 404, "No such token";
    /// No such hook run.
    UnknownTrace = "unknown_trace", 404, "No such trace";
    /// The session has no endpoint of that name.
    UnknownEndpoint = "unknown_endpoint", 404, "No such endpoint";
    /// The route exists, the method does not.
    MethodNotAllowed = "method_not_allowed", 405, "Method not allowed";
    /// The session's monitor has not registered yet.
    SessionPending = "session_pending", 409, "The session has not started yet";
    /// The session is over.
    SessionEnded = "session_ended", 409, "The session has ended";
    /// The session is being ended.
    SessionTerminating = "session_terminating", 409, "The session is being terminated";
    /// Purge refused: the session answers.
    SessionReachable = "session_reachable", 409, "The session is alive and answers";
    /// The template has no extend hook.
    NotExtendable = "not_extendable", 409, "The session's time cannot be extended";
    /// The session has no terminal.
    NoTerminal = "no_terminal", 409, "The session has no terminal";
    /// Something of that name is there already.
    AlreadyExists = "already_exists", 409, "It exists already";
    /// The key's session has been purged.
    SessionPurged = "session_purged", 410, "The session of this key has been purged";
    /// Somebody else changed it first.
    RevConflict = "rev_conflict", 412, "Changed by somebody else meanwhile";
    /// The body is over 1 MiB, or a message over its limit.
    TooLarge = "too_large", 413, "Too large";
    /// The body is not JSON.
    UnsupportedMediaType = "unsupported_media_type", 415, "Send JSON";
    /// A value is not acceptable.
    Invalid = "invalid", 422, "A value is not acceptable";
    /// No such template.
    UnknownTemplate = "unknown_template", 422, "No such template";
    /// The template cannot be used as it is.
    TemplateBroken = "template_broken", 422, "The template cannot be used";
    /// The administrator has closed the template.
    TemplateDisabled = "template_disabled", 422, "The template is closed";
    /// The idempotency key was used for another request.
    KeyReused = "key_reused", 422, "The key was used for another request";
    /// Too many requests, starts or sessions.
    RateLimited = "rate_limited", 429, "Too many";
    /// A defect of Wharf.
    Internal = "internal", 500, "Something went wrong inside Wharf";
    /// A template's hook failed.
    HookFailed = "hook_failed", 502, "The template's hook failed";
    /// The backend failed.
    BackendFailed = "backend_failed", 502, "The backend failed";
    /// Nobody answers on the session's endpoint.
    EndpointFailed = "endpoint_failed", 502, "Nobody answers on the endpoint";
    /// Known to be down.
    Unavailable = "unavailable", 503, "Not available now";
    /// The session's monitor cannot be reached.
    Unreachable = "unreachable", 503, "The session cannot be reached";
    /// The launcher cannot know yet.
    CannotTell = "cannot_tell", 503, "The launcher cannot tell yet";
    /// The datastore takes no more.
    StorageFull = "storage_full", 503, "The datastore is full";
    /// Not done in time.
    Deadline = "deadline", 504, "Not done in time";
    /// A template's hook was not done in time.
    HookTimeout = "hook_timeout", 504, "The template's hook was not done in time";
    /// The command line was not understood (command line only).
    Usage = "usage", 400, "The command line was not understood";
    /// No launcher answers (command line only).
    NoLauncher = "no_launcher", 503, "No launcher answers";
}

impl ErrorCode {
    /// What to do next, where the occurrence says nothing better.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Malformed | Self::UnsupportedMediaType => {
                "send one JSON document as /api/v1/openapi.json describes it"
            }
            Self::BadCursor => "take next_cursor of the page before, or begin without one",
            Self::BadMessage => "begin an exec with start; then resize, signal, eof, or data for channel 0",
            Self::Unauthenticated => "make a token with `wharf token create` on the launcher's host",
            Self::Forbidden => "ask the owner for a share or a token that allows it",
            Self::NotFound => "the API's description is at /api/v1/openapi.json",
            Self::UnknownSession => "see `wharf list`, or `wharf list --all` for those that have ended",
            Self::UnknownShare => "see `wharf share ID --list`",
            Self::UnknownToken => "see `wharf token list`",
            Self::UnknownTrace => {
                "only hook runs of the last days are kept; look for the id in the launcher's log"
            }
            Self::UnknownEndpoint => "see `wharf connect ID` for those there are",
            Self::MethodNotAllowed => "the header Allow names the methods it takes",
            Self::SessionPending => "wait for it: wharf wait ID --for running",
            Self::SessionEnded => "start a new one",
            Self::SessionTerminating => "wait for its end: wharf wait ID --for ended",
            Self::SessionReachable => "to end it, terminate it",
            Self::NotExtendable => "save your work before the time is over, and start a new one",
            Self::NoTerminal => "start it with --tty, or see what it prints with `wharf logs -f`",
            Self::AlreadyExists => "choose another name",
            Self::SessionPurged | Self::KeyReused => "use a new key for a new session",
            Self::RevConflict => "read it again and repeat the change on what it is now",
            Self::TooLarge => "send less at once",
            Self::Invalid => "change what is named and ask again; nothing was done",
            Self::UnknownTemplate => "see `wharf template list`",
            Self::TemplateBroken | Self::TemplateDisabled => {
                "choose another, or ask the administrator; `wharf template list` says why"
            }
            Self::RateLimited => "wait a moment, then ask again",
            Self::Internal => "tell the administrator the trace id: the launcher's log says more",
            Self::HookFailed => "tell the administrator the trace id, or try again",
            Self::BackendFailed => "see `wharf backend list`, and try again when it is well",
            Self::EndpointFailed => "does the program in the session listen? See `wharf logs ID`",
            Self::Unavailable => "try again later; `wharf backend list` tells what is down",
            Self::Unreachable => "try again; if it stays away, purge forgets it and terminate ends its job",
            Self::CannotTell => "try again after the time named",
            Self::StorageFull => "the administrator has to make room; it goes on by itself then",
            Self::Deadline => "try again, or give it more time",
            Self::HookTimeout => "try again; the scheduler may be slow",
            Self::Usage => "see `wharf --help`",
            Self::NoLauncher => "start one with `wharf serve`, or name one with --server or WHARF_SERVER",
        }
    }

    /// The command line's exit code for this code at that status.
    pub const fn exit_code(self, status: u16) -> u8 {
        if matches!(self, Self::HookFailed) {
            return 6;
        }
        match status {
            400 | 413 | 415 | 422 => 2,
            404 => 3,
            405 | 409 | 410 | 412 => 4,
            401 | 403 => 5,
            502 => 6,
            429 | 503 | 504 => 7,
            _ => 1,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// One value at fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// The member's path, such as `params.cores`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// A problem document: the body of every refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[error("{detail}")]
pub struct Problem {
    /// `urn:wharf:error:CODE`.
    pub r#type: String,
    /// The code's own short text.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened, for people.
    pub detail: String,
    /// The stable code.
    pub code: ErrorCode,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Where the administrator finds the detail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The member at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// All members at fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// The hook's error kind, with `hook_failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Seconds until it is worth trying again; also the `Retry-After` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl Problem {
    /// As it goes out: with something to do next, and an id that the log has too.
    #[must_use]
    pub fn complete(mut self, trace: impl FnOnce() -> TraceId) -> Self {
        if self.hint.as_deref().is_none_or(str::is_empty) {
            self.hint = Some(self.code.hint().to_owned());
        }
        if self.trace_id.is_none() {
            self.trace_id = Some(trace().to_string());
        }
        self
    }

    /// A problem with the code's usual status.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self {
            r#type: format!("urn:wharf:error:{code}"),
            title: code.title().to_owned(),
            status: code.status(),
            detail: detail.into(),
            code,
            hint: None,
            trace_id: None,
            field: None,
            errors: Vec::new(),
            kind: None,
            retry_after: None,
        }
    }

    /// A value at fault: 422 `invalid` with its path.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::fields(vec![FieldError { field: field.into(), message: message.into() }])
    }

    /// Values at fault: 422 `invalid` with all their paths; the first is named in the detail.
    pub fn fields(errors: Vec<FieldError>) -> Self {
        let detail = errors
            .iter()
            .map(|error| format!("{}: {}", error.field, error.message))
            .collect::<Vec<_>>()
            .join("; ");
        let field = errors.first().map(|error| error.field.clone());
        Self { field, errors, ..Self::new(ErrorCode::Invalid, detail) }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Replaces the status (a hook's `denied` is 403, its `unavailable` 503).
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Adds where the administrator finds the detail.
    #[must_use]
    pub fn trace(mut self, trace: impl Into<String>) -> Self {
        self.trace_id = Some(trace.into());
        self
    }

    /// Adds when it is worth trying again, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The command line's exit code.
    pub fn exit_code(&self) -> u8 {
        self.code.exit_code(self.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_follow_the_contract() {
        for (code, exit) in [
            (ErrorCode::Malformed, 2),
            (ErrorCode::Invalid, 2),
            (ErrorCode::UnknownSession, 3),
            (ErrorCode::SessionEnded, 4),
            (ErrorCode::RevConflict, 4),
            (ErrorCode::SessionPurged, 4),
            (ErrorCode::Forbidden, 5),
            (ErrorCode::Unauthenticated, 5),
            (ErrorCode::HookFailed, 6),
            (ErrorCode::CannotTell, 7),
            (ErrorCode::RateLimited, 7),
            (ErrorCode::HookTimeout, 7),
            (ErrorCode::Internal, 1),
        ] {
            assert_eq!(code.exit_code(code.status()), exit, "{code}");
        }
        assert_eq!(ErrorCode::HookFailed.exit_code(503), 6);
    }

    #[test]
    fn codes_are_unique_words() {
        let mut words: Vec<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        words.sort_unstable();
        let before = words.len();
        words.dedup();
        assert_eq!(before, words.len());
    }
}
