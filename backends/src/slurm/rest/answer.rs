//! What an answer of slurmrestd means. Pure.

use serde_json::Value;

/// What came of a submit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The job's id. What else is said is about the job, such as that it is held.
    Submitted(String),
    /// Slurm's own words.
    Refused(String),
    /// Nothing was submitted: who asks is not believed.
    NotLetIn(String),
    /// Nothing was submitted: the request made no sense there.
    NotUnderstood(String),
    /// Whether something was submitted cannot be told.
    Senseless(String),
}

/// Of what the interface says of requests, not Slurm of jobs (`slurm_errno.h`).
const OF_REQUESTS: [std::ops::RangeInclusive<i64>; 2] = [9000..=9002, 9200..=9399];

/// Reads it.
pub(super) fn read(status: u16, text: &[u8]) -> Answer {
    let told: Option<Value> = serde_json::from_slice(text).ok().filter(Value::is_object);
    let Some(told) = told else {
        let words: String =
            String::from_utf8_lossy(text).chars().filter(|letter| !letter.is_control()).take(200).collect();
        let words = format!("{words} ({status})");
        return match status {
            401 | 403 => Answer::NotLetIn(words),
            // Refused for its form, before anybody looked at what it says.
            400 | 404 | 405 | 406 | 411 | 413..=415 | 431 => Answer::NotUnderstood(words),
            _ => Answer::Senseless(words),
        };
    };
    let id = [told.get("job_id"), told.pointer("/result/job_id")];
    if let Some(id) = id.into_iter().flatten().filter_map(Value::as_u64).find(|id| *id > 0) {
        return Answer::Submitted(id.to_string());
    }
    let errors = told.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut words: Vec<&str> = Vec::new();
    for error in errors {
        for member in ["error", "description"] {
            let word = error.get(member).and_then(Value::as_str).filter(|word| !word.is_empty());
            words.extend(word.filter(|word| !words.contains(word)));
        }
    }
    let words: String = words.join("; ").chars().filter(|letter| !letter.is_control()).take(1000).collect();
    let code = |error: &Value| {
        let code = error.get("error_code").or_else(|| error.get("error_number"));
        code.and_then(Value::as_i64).unwrap_or_default()
    };
    let of_request = errors.iter().any(|error| OF_REQUESTS.iter().any(|codes| codes.contains(&code(error))));
    match status {
        401 | 403 => Answer::NotLetIn(words),
        // With another status the answer, not the request, may be what was not understood.
        400..=499 if of_request => Answer::NotUnderstood(words),
        _ if words.is_empty() => Answer::Senseless(format!("neither an id nor an error ({status})")),
        _ => Answer::Refused(words),
    }
}
