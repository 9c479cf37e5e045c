use serde_json::{Value, json};

use super::*;

#[test]
fn only_the_end_of_a_labelled_container_is_heard() {
    let event = |action: &str, attributes: Value| {
        let text =
            json!({"Type": "container", "Action": action, "Actor": {"ID": "0", "Attributes": attributes}});
        over(serde_json::from_value(text).expect("an event"))
    };
    let ours = json!({"name": "s1", "image": "busybox", LABEL: "s1"});
    for word in ["die", "destroy", "died", "remove"] {
        assert_eq!(event(word, ours.clone()).as_deref(), Some("s1"), "{word}");
    }
    assert_eq!(event("start", ours.clone()), None);
    assert_eq!(event("exec_die", ours), None);
    assert_eq!(event("die", json!({"name": "s1"})), None);
}
