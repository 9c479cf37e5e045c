//! Words of Podman's that Docker's API does not have, in answers that the client would not read because of them.
//!
//! Podman speaks Docker's API with its own names for a container's states. One container that is just being cleaned up
//! would make the list of all of them unreadable.

use bollard::errors::Error;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Podman's word for a state, and Docker's for the same.
const STATES: [(&str, &str); 4] =
    [("stopped", "exited"), ("configured", "created"), ("initialized", "created"), ("unknown", "")];

/// The answer; read once more with Docker's words when it could not be read.
pub(super) fn understood<T: DeserializeOwned>(answer: Result<T, Error>) -> Result<T, Error> {
    let Err(Error::JsonDataError { contents, .. }) = &answer else { return answer };
    let Ok(mut document) = serde_json::from_str(contents) else { return answer };
    translate(&mut document);
    serde_json::from_value(document).or(answer)
}

/// In a list `State` is a word; in one container's answer it is a table with `Status`.
fn translate(document: &mut Value) {
    match document {
        Value::Array(items) => items.iter_mut().for_each(translate),
        Value::Object(container) => {
            let word = match container.get_mut("State") {
                Some(Value::Object(state)) => state.get_mut("Status"),
                other => other,
            };
            if let Some(word) = word
                && let Some((_, docker)) = STATES.iter().find(|(podman, _)| word == podman)
            {
                *word = Value::from(*docker);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummary};
    use serde_json::json;

    use super::*;

    fn unread(document: &Value) -> Error {
        Error::JsonDataError {
            message: "unknown variant".to_owned(),
            contents: document.to_string(),
            column: 1,
        }
    }

    #[test]
    fn a_container_that_is_cleaned_up_hides_no_other() {
        let list = json!([{"Id": "a", "State": "running"}, {"Id": "b", "State": "stopped", "Labels": {"x": "stopped"}}]);
        let read: Vec<ContainerSummary> = understood(Err(unread(&list))).expect("both are read");
        let states: Vec<String> = read.iter().filter_map(|one| Some(one.state?.to_string())).collect();
        assert_eq!(states, ["running", "exited"]);
        assert_eq!(
            read[1].labels.as_ref().and_then(|labels| labels.get("x")).map(String::as_str),
            Some("stopped")
        );
        let one = json!({"Id": "b", "State": {"Status": "stopped", "ExitCode": 3}});
        let read: ContainerInspectResponse = understood(Err(unread(&one))).expect("it is read");
        let state = read.state.expect("it has a state");
        assert_eq!((state.status, state.exit_code), (Some(ContainerStateStatusEnum::EXITED), Some(3)));
    }

    #[test]
    fn what_is_no_container_stays_unread() {
        let read: Result<Vec<ContainerSummary>, Error> = understood(Err(unread(&json!({"State": 1}))));
        assert!(matches!(read, Err(Error::JsonDataError { .. })));
    }
}
