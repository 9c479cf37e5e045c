//! Where monitors link.

use serde_json::json;

use crate::launcher::Running;
use crate::monitor::{Fake, bootstrap, dial};

#[tokio::test]
async fn a_link_makes_a_session_run_and_its_loss_is_seen() {
    let wharf = Running::begin().await;
    let id = wharf.start().await;
    let fake = Fake::link(&wharf, &id, async |_, _, _| {}).await;
    let session = wharf.ask(&format!("GET /api/v1/sessions/{id}"), None).await.expect(200);
    assert!(session["started_at"].is_string(), "{session}");
    drop(fake);
    wharf.until(&id, |session| session["link"] == "lost").await;
    let answer = wharf.ask(&format!("POST /api/v1/sessions/{id}/connect"), Some(json!({}))).await;
    answer.refused(503, "unreachable");
    assert!(answer.json()["trace_id"].is_string());
    assert!(answer.header("retry-after").is_some());
}

#[tokio::test]
async fn who_has_no_credential_is_refused_before_the_upgrade() {
    let wharf = Running::begin().await;
    let id = wharf.start().await;
    let mut papers = bootstrap(&wharf, &id);
    papers.credential.push('A');
    assert_eq!(dial(&wharf, &papers).await.err(), Some(401));
    // Another session's credential opens nothing here.
    let other = bootstrap(&wharf, &wharf.start().await);
    let mut papers = bootstrap(&wharf, &id);
    papers.credential = other.credential;
    assert_eq!(dial(&wharf, &papers).await.err(), Some(401));
    let papers = bootstrap(&wharf, &id);
    wharf.ask(&format!("POST /api/v1/sessions/{id}/terminate?wait=5s"), Some(json!({}))).await.expect(200);
    assert_eq!(dial(&wharf, &papers).await.err(), Some(410));
}
