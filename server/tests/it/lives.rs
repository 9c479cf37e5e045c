//! How long what lets somebody in is good: by a clock that the test moves.

use serde_json::{Value, json};
use wharf_protocol::{ErrorCode, SessionId};

use crate::http::{Answer, send};
use crate::launcher::Running;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

async fn secret(wharf: &Running) -> String {
    let login: Value = wharf.ask("POST /api/v1/login", Some(json!({}))).await.expect(200);
    let url = login["url"].as_str().expect("an address");
    url.split_once("/#/login/").expect("a fragment").1.to_owned()
}

async fn redeem(wharf: &Running, secret: &str) -> Answer {
    send(wharf.at, "POST /api/v1/login", &[], &json!({"secret": secret}).to_string()).await
}

#[tokio::test]
async fn a_sign_in_address_is_good_for_a_minute_and_the_sign_in_for_30_days() {
    let wharf = Running::begin().await;
    let (first, second) = (secret(&wharf).await, secret(&wharf).await);
    wharf.pass(MINUTE - 1);
    let answer = redeem(&wharf, &first).await;
    assert_eq!(answer.expect(200)["scope"], "full");
    let set = answer.header("set-cookie").expect("a cookie");
    let cookie = set.split(';').next().expect("a first part").to_owned();
    wharf.pass(1);
    redeem(&wharf, &second).await.refused(404, "not_found");
    let host = wharf.at.to_string();
    let signed_in = async || {
        let headers = [("Cookie", cookie.as_str()), ("Host", host.as_str())];
        send(wharf.at, "GET /api/v1/login", &headers, "").await
    };
    wharf.pass(30 * DAY - 10);
    assert_eq!(signed_in().await.status, 200);
    wharf.pass(10);
    signed_in().await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_link_lets_in_so_many_and_no_more() {
    let wharf = Running::begin().await;
    let id = wharf.start().await;
    let shares = format!("POST /api/v1/sessions/{id}/shares");
    let secret = async || {
        let share = wharf.ask(&shares, Some(json!({"grantee": "link"}))).await.expect(201);
        share["url"].as_str().and_then(|url| url.split_once("/#/join/")).expect("an address").1.to_owned()
    };
    let (first, other) = (secret().await, secret().await);
    for _ in 0..1000 {
        wharf.launcher.redeem(&first).await.expect("there is room");
    }
    let refused = wharf.launcher.redeem(&first).await.expect_err("that is enough");
    assert_eq!(refused.code, ErrorCode::RateLimited);
    wharf.launcher.redeem(&other).await.expect("another link has room of its own");
}

#[tokio::test]
async fn a_ticket_is_good_for_a_minute_a_question_for_ten_and_a_pass_for_a_day() {
    let wharf = Running::begin().await;
    let launcher = &wharf.launcher;
    let (owner, id): (_, SessionId) = (launcher.owner_actor(), wharf.start().await.parse().expect("an id"));
    let ticket = || launcher.ticket(&owner, &id, "web").0;
    let (late, soon, asked) = (ticket(), ticket(), ticket());
    let (early, never) = (
        launcher.renew_ticket(&asked, &id, "web").expect("it is new"),
        launcher.renew_ticket(&ticket(), &id, "web").expect("it is new"),
    );
    assert!(launcher.spend_ticket(&asked, &id, "web").is_err(), "it is spent");
    wharf.pass(MINUTE - 1);
    let pass = launcher.spend_ticket(&soon, &id, "web").expect("it is a minute's");
    wharf.pass(1);
    let refused = launcher.spend_ticket(&late, &id, "web").expect_err("it is over");
    assert_eq!(refused.code, ErrorCode::Unauthenticated);
    wharf.pass(9 * MINUTE - 1);
    launcher.spend_ticket(&early, &id, "web").expect("there was time to read");
    wharf.pass(1);
    assert!(launcher.spend_ticket(&never, &id, "web").is_err());
    assert!(!launcher.admit_pass(&pass, &id, "web").await.expect("it is new").renew);
    wharf.pass(12 * HOUR);
    assert!(launcher.admit_pass(&pass, &id, "web").await.expect("it is a day's").renew);
    wharf.pass(12 * HOUR);
    assert!(launcher.admit_pass(&pass, &id, "web").await.is_err());
    // With a token that is over it opens nothing, however new.
    let token = wharf.token(json!({"scope": "full", "expires_in": "1h"})).await;
    let actor = launcher.authenticate(&token).await.expect("it is new");
    let pass = launcher.pass(&actor, &id, "web");
    assert!(launcher.admit_pass(&pass, &id, "web").await.is_ok());
    wharf.pass(HOUR);
    assert!(launcher.admit_pass(&pass, &id, "web").await.is_err());
}
