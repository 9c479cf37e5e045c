//! Who comes and goes, also in the moment of a purge.

use tokio::sync::mpsc;

use super::*;
use crate::testing::store::record;

fn handle(record: Record) -> (Handle, Mail) {
    let (mail, _) = mpsc::unbounded_channel();
    let view = View {
        record: Arc::new(record),
        link: LinkState::None,
        serial: None,
        linked_here: false,
        checked_at: None,
        gone: false,
    };
    (Handle { mail: mail.clone(), view: watch::channel(view).1 }, mail)
}

#[test]
fn a_driver_that_goes_takes_only_itself_out() {
    let registry = Registry::default();
    let record = record(1);
    let (id, template) = (record.id.clone(), record.template.clone());
    let ((first, purged), (second, back)) = (handle(record.clone()), handle(record));
    assert!(registry.enter(&id, first.clone()) && !registry.enter(&id, first));
    registry.leave(&id, &purged);
    assert_eq!(registry.count(&template), (0, 0));
    // Its monitor was quicker than the rest of the purge.
    assert!(registry.enter(&id, second));
    registry.leave(&id, &purged);
    assert!(registry.get(&id).is_some());
    assert_eq!(registry.count(&template), (1, 1));
    registry.leave(&id, &back);
    assert!(registry.get(&id).is_none() && registry.templates().is_empty());
}
