//! Words for a container's state that Docker's API does not have: Podman's own, and those that an engine may have some
//! day.
//!
//! The client reads an answer with a word that it does not know as no answer at all.

use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum};
use serde_json::Value;

/// Podman's word for a state, and Docker's for the same.
const STATES: [(&str, &str); 3] =
    [("stopped", "exited"), ("configured", "created"), ("initialized", "created")];

/// Docker's word for a state.
pub(super) fn docker_word(word: &str) -> &str {
    STATES.iter().find(|(podman, _)| *podman == word).map_or(word, |(_, docker)| docker)
}

/// What is told of one container; read once more with Docker's words when it could not be read. A word that is not
/// known says nothing.
pub(super) fn understood(
    answer: Result<ContainerInspectResponse, Error>,
) -> Result<ContainerInspectResponse, Error> {
    let Err(Error::JsonDataError { contents, .. }) = &answer else { return answer };
    let Ok(mut document) = serde_json::from_str::<Value>(contents) else { return answer };
    if let Some(Value::String(word)) = document.pointer_mut("/State/Status") {
        let docker = docker_word(word);
        let known = docker.parse::<ContainerStateStatusEnum>().is_ok();
        *word = if known { docker.to_owned() } else { String::new() };
    }
    serde_json::from_value(document).or(answer)
}

#[cfg(test)]
mod tests {
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
    fn a_containers_state_is_read_in_whatever_words_it_is_told() {
        for (word, status) in [
            ("stopped", ContainerStateStatusEnum::EXITED),
            ("initialized", ContainerStateStatusEnum::CREATED),
            ("hibernating", ContainerStateStatusEnum::EMPTY),
        ] {
            let told = json!({"Id": "b", "State": {"Status": word, "ExitCode": 3}});
            let state = understood(Err(unread(&told))).expect("it is read").state.expect("it has a state");
            assert_eq!((state.status, state.exit_code), (Some(status), Some(3)));
        }
    }

    #[test]
    fn what_is_no_container_stays_unread() {
        assert!(matches!(understood(Err(unread(&json!({"State": 1})))), Err(Error::JsonDataError { .. })));
    }
}
