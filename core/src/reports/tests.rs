use wharf_protocol::template::{LiveStep, StepResult};
use wharf_protocol::time::Time;

use super::*;

fn report(detail: &str) -> LiveReport {
    LiveReport {
        template: "batch".to_owned(),
        version: "v1".to_owned(),
        backend: "shell".to_owned(),
        scheduler: "shell".to_owned(),
        wharf: "0.1.0".to_owned(),
        node: "here".to_owned(),
        began_at: Time::from_millis(0),
        ended_at: Time::from_millis(1),
        passed: true,
        outdated: false,
        steps: vec![LiveStep {
            step: "start".to_owned(),
            result: StepResult::Passed,
            detail: detail.to_owned(),
            ms: 3,
        }],
    }
}

#[test]
fn the_newest_is_kept_for_its_owner_alone_and_tells_that_the_template_has_changed() {
    use std::os::unix::fs::PermissionsExt as _;
    let data = tempfile::tempdir().unwrap();
    assert_eq!(read(data.path(), "batch", Some("v1")), None);
    keep(data.path(), LiveReport { passed: false, ..report("first") }).unwrap();
    keep(data.path(), report("second")).unwrap();
    assert_eq!(read(data.path(), "batch", Some("v1")), Some(report("second")));
    for version in [Some("v2"), None] {
        assert!(read(data.path(), "batch", version).unwrap().outdated);
    }
    assert_eq!(read(data.path(), "other", Some("v1")), None);
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(data.path().join("reports")), mode(path(data.path(), "batch"))), (0o700, 0o600));
}

#[test]
fn long_words_are_cut_and_a_file_of_something_else_is_none() {
    let data = tempfile::tempdir().unwrap();
    let mut long = report(&"\u{1}ä".repeat(DETAIL));
    long.steps = vec![long.steps[0].clone(); 2 * STEPS];
    keep(data.path(), long).unwrap();
    let kept = read(data.path(), "batch", None).unwrap();
    assert_eq!(kept.steps.len(), STEPS);
    assert!(kept.steps.iter().all(|step| step.detail.len() < DETAIL + 8 && step.detail.ends_with("[…]")));
    fs::write(path(data.path(), "batch"), "{\"template\":7}").unwrap();
    assert_eq!(read(data.path(), "batch", None), None);
}
