//! What an executable's exit code and output mean.
//!
//! | exit | meaning |
//! |---|---|
//! | 0 | standard output is the document, or plain text where the contract allows it |
//! | 65, 69, 75, 77, 78 | a class of failure; a JSON error on standard output says more |
//! | anything else, a signal, bad output | `internal` |

use serde_json::{Map, Value};
use wharf_core::hook::{Hook, HookError, HookErrorKind};

use super::child::Ended;
use super::{document, stopped};
use crate::answer;
use crate::context::Context;

/// Most bytes of standard error that become a message.
const MESSAGE_MAX: usize = 4 << 10;

/// Reads the answer of an executable that has ended; not validated yet.
pub(crate) fn read(context: &Context, hook: Hook, ended: &Ended) -> Result<Value, HookError> {
    if let Some(why) = ended.stopped {
        return Err(stopped(why, context.allowed));
    }
    let internal = |message: String| HookError::new(HookErrorKind::Internal, message);
    let Some(code) = ended.code else {
        let how = ended
            .signal
            .map_or_else(|| "in an unknown way".to_owned(), |signal| format!("by signal {signal}"));
        return Err(internal(format!("the hook's process was ended {how}{}", said(&ended.stderr))));
    };
    let kind = match code {
        0 => return success(context, hook, &ended.stdout),
        65 => HookErrorKind::Invalid,
        69 => HookErrorKind::Unsupported,
        75 => HookErrorKind::Unavailable,
        77 => HookErrorKind::Denied,
        78 => HookErrorKind::Misconfigured,
        _ => {
            let mut error = internal(format!("the hook ended with exit code {code}{}", said(&ended.stderr)));
            error.plain_exit = true;
            return Err(error);
        }
    };
    if let Ok(Value::Object(mut members)) = document::parse(&ended.stdout)
        && members.len() == 1
        && let Some(error) = members.remove("error")
        && let Ok(error) = answer::error(error)
    {
        return Err(error);
    }
    let message = message(&ended.stderr).unwrap_or_else(|| format!("the hook ended with exit code {code}"));
    Err(HookError::new(kind, message))
}

fn success(context: &Context, hook: Hook, stdout: &[u8]) -> Result<Value, HookError> {
    let internal = |message: String| HookError::new(HookErrorKind::Internal, message);
    let Ok(text) = std::str::from_utf8(stdout) else {
        return Err(internal(format!("the hook's standard output is not UTF-8: {}", shown(stdout))));
    };
    let text = text.trim();
    if text.is_empty() {
        return if answer::may_be_silent(hook) {
            Ok(Value::Object(Map::new()))
        } else {
            Err(internal("the hook wrote nothing to standard output".to_owned()))
        };
    }
    if hook == Hook::Submit && !text.starts_with(['{', '[']) {
        let last = text.lines().map(str::trim_end).rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        return if answer::is_job_id(&context.version.run.job_id, last) {
            Ok(serde_json::json!({ "job_id": last }))
        } else {
            Err(internal(format!(
                "the last line of standard output is no job id: {}",
                shown(last.as_bytes())
            )))
        };
    }
    let document = document::parse(text.as_bytes())
        .map_err(|reason| internal(format!("standard output: {reason}: {}", shown(stdout))))?;
    let Value::Object(mut members) = document else {
        return Err(internal("standard output: expected {\"result\": …} or {\"error\": …}".to_owned()));
    };
    match (members.remove("result"), members.remove("error"), members.keys().next()) {
        (Some(result), None, None) => Ok(result),
        (None, Some(error), None) => Err(answer::error(error).unwrap_or_else(|bad| bad)),
        (_, _, Some(name)) => {
            Err(internal(format!("standard output: unknown member `{name}` beside `result` or `error`")))
        }
        (_, _, None) => {
            Err(internal("standard output: expected exactly one of `result` and `error`".to_owned()))
        }
    }
}

/// The beginning of an output, safe to show.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes.get(..200).unwrap_or(bytes)).into_owned();
    format!("\"{}\"", text.escape_debug())
}

/// The first 4 KiB of standard error, as a message.
fn message(stderr: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(stderr.get(..MESSAGE_MAX).unwrap_or(stderr)).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

fn said(stderr: &[u8]) -> String {
    message(stderr).map_or_else(String::new, |text| format!(": {text}"))
}
