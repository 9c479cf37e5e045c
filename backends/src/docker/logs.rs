//! What a container's first process printed: the monitor's own words, not the command's.
//!
//! An engine keeps each line with the moment it came. So a place in the log is the moment of the last line that was
//! given and how many of that moment were: what is asked for after a place is neither lost nor given twice.

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptions;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use wharf_core::backend::HostError;
use wharf_core::hook::HookErrorKind;

use super::arguments::Logs;
use super::containers::own;
use super::engine::Engine;

/// Most bytes of one answer.
const MOST: usize = 1 << 20;
/// Lines from the end, where nobody says how many.
const LINES: i64 = 10_000;

/// The last line that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    at: jiff::Timestamp,
    /// Lines of that moment that were given.
    given: u32,
}

impl Place {
    fn read(text: &str) -> Option<Self> {
        let (at, given) = text.split_once('+')?;
        Some(Self { at: at.parse().ok()?, given: given.parse().ok()? })
    }

    fn told(self) -> String {
        format!("{}+{}", self.at, self.given)
    }
}

/// Lines of a log as they come.
#[derive(Debug, Default)]
struct Gathered {
    after: Option<Place>,
    last: Option<Place>,
    /// Lines of the moment of `after` that came again.
    again: u32,
    text: Vec<u8>,
}

impl Gathered {
    fn after(place: Option<Place>) -> Self {
        Self { after: place, last: place, ..Self::default() }
    }

    /// Takes a line with its moment in front.
    fn take(&mut self, line: &[u8]) {
        let (at, line) = split(line);
        let Some(at) = at else { return self.text.extend_from_slice(line) };
        if let Some(after) = self.after {
            if at < after.at {
                return;
            }
            if at == after.at {
                self.again += 1;
                if self.again <= after.given {
                    return;
                }
            }
        }
        self.last = Some(match self.last {
            Some(last) if last.at == at => Place { at, given: last.given + 1 },
            _ => Place { at, given: 1 },
        });
        self.text.extend_from_slice(line);
        if self.after.is_none() && self.text.len() > 2 * MOST {
            self.cut();
        }
    }

    /// Asked for from a place, the rest is for the next question; else the end is worth more than what came before it.
    fn is_enough(&self) -> bool {
        self.after.is_some() && self.text.len() >= MOST
    }

    fn cut(&mut self) {
        let surplus = self.text.len().saturating_sub(MOST);
        self.text.drain(..surplus);
    }
}

/// The moment in front of a line, and the line.
fn split(line: &[u8]) -> (Option<jiff::Timestamp>, &[u8]) {
    let moment = line.iter().position(|byte| *byte == b' ').and_then(|at| {
        let moment = std::str::from_utf8(&line[..at]).ok()?.parse().ok()?;
        Some((moment, &line[at + 1..]))
    });
    moment.map_or((None, line), |(moment, line)| (Some(moment), line))
}

/// The log's end, or what came after a place.
pub(super) async fn logs(engine: &Engine, logs: &Logs) -> Result<Value, HostError> {
    let wrong = || HostError::new(HookErrorKind::Invalid, "after has to be `next` of an earlier answer");
    let after = logs.after.as_deref().map(|text| Place::read(text).ok_or_else(wrong)).transpose()?;
    let client = engine.client().await?;
    let Some(container) = own(engine, &logs.id).await? else { return Ok(json!({ "text": "" })) };
    let tail = logs.tail.unwrap_or(LINES).clamp(0, LINES).to_string();
    let options = LogsOptions {
        stdout: true,
        stderr: true,
        timestamps: true,
        // Whole seconds, as the engine takes them.
        since: after.map_or(0, |place| i32::try_from(place.at.as_second()).unwrap_or(i32::MAX)),
        tail: if after.is_some() { "all".to_owned() } else { tail },
        ..Default::default()
    };
    let mut stream = client.logs(&container.id, Some(options));
    let mut gathered = Gathered::after(after);
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| engine.told("the container's log cannot be read", error))?;
        let (LogOutput::StdOut { message }
        | LogOutput::StdErr { message }
        | LogOutput::Console { message }
        | LogOutput::StdIn { message }) = piece;
        gathered.take(&message);
        if gathered.is_enough() {
            break;
        }
    }
    if after.is_none() {
        gathered.cut();
    }
    let text = String::from_utf8_lossy(&gathered.text);
    Ok(match gathered.last {
        Some(place) => json!({ "text": text, "next": place.told() }),
        None => json!({ "text": text }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLY: &str = "2026-01-01T10:00:00.000000001Z";
    const LATE: &str = "2026-01-01T10:00:00.500000000Z";

    fn take(gathered: &mut Gathered, lines: &[(&str, &str)]) {
        for (moment, text) in lines {
            gathered.take(format!("{moment} {text}\n").as_bytes());
        }
    }

    #[test]
    fn what_comes_after_a_place_is_neither_lost_nor_given_twice() {
        let all = [(EARLY, "a"), (LATE, "b"), (LATE, "c"), (LATE, "d")];
        for given in 0..=all.len() {
            let mut first = Gathered::default();
            take(&mut first, &all[..given]);
            let told = first.last.map(Place::told);
            let place = told.as_deref().map(|told| Place::read(told).expect("its own words"));
            assert_eq!(place, first.last);
            // An engine begins at the whole second.
            let mut rest = Gathered::after(place);
            take(&mut rest, &all);
            let whole = String::from_utf8([first.text, rest.text.clone()].concat()).expect("it is a text");
            assert_eq!(whole, "a\nb\nc\nd\n", "after {given}: {rest:?}");
            let mut nothing = Gathered::after(rest.last);
            take(&mut nothing, &all);
            assert_eq!((nothing.text.len(), nothing.last), (0, rest.last));
        }
    }

    #[test]
    fn of_a_long_log_the_end_is_given_and_after_a_place_its_beginning() {
        let line = "x".repeat(64 << 10);
        let mut end = Gathered::default();
        for number in 0..64 {
            take(&mut end, &[(LATE, &format!("{number} {line}"))]);
        }
        end.cut();
        assert!(end.text.len() == MOST && end.text.ends_with(b"x\n"));
        let mut from = Gathered::after(Some(Place { at: EARLY.parse().expect("a time"), given: 1 }));
        let mut taken = 0;
        while !from.is_enough() {
            take(&mut from, &[(LATE, &line)]);
            taken += 1;
        }
        assert_eq!(from.last, Some(Place { at: LATE.parse().expect("a time"), given: taken }));
    }
}
