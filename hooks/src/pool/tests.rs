//! Who gets a place while others hang.

use std::time::Duration;

use super::{Place, Pool};
use wharf_core::hook::Hook;

/// A place at once, or none.
async fn now(pool: &Pool, template: &str, hook: Hook) -> Option<Place> {
    tokio::time::timeout(Duration::from_millis(20), pool.place(template, hook)).await.ok().flatten()
}

/// Takes as many places as there are for that crowd.
async fn crowd(pool: &Pool, template: &str, hooks: &[Hook]) -> Vec<Place> {
    let mut places = Vec::new();
    for hook in hooks {
        while let Some(place) = now(pool, template, *hook).await {
            places.push(place);
        }
    }
    places
}

#[tokio::test]
async fn templates_that_hang_in_all_their_hooks_leave_places_for_others() {
    let pool = Pool::new(64);
    let hooks = [Hook::Submit, Hook::Status, Hook::Logs, Hook::Options, Hook::OnEnded, Hook::Validate];
    let one = crowd(&pool, "one", &hooks).await;
    let two = crowd(&pool, "two", &hooks).await;
    assert_eq!((one.len(), two.len()), (24, 24));
    assert!(now(&pool, "three", Hook::Submit).await.is_some());
    // Its own jobs can still be ended and looked up.
    assert!(now(&pool, "one", Hook::Terminate).await.is_some());
    assert!(now(&pool, "one", Hook::Find).await.is_some());
}

#[tokio::test]
async fn the_reserve_is_nobodys_own() {
    let pool = Pool::new(8);
    let all = crowd(&pool, "busy", &[Hook::Submit]).await;
    assert_eq!(all.len(), 8);
    let ends = crowd(&pool, "one", &[Hook::Terminate, Hook::Find]).await;
    assert_eq!(ends.len(), 3);
    assert!(now(&pool, "two", Hook::Terminate).await.is_some());
    assert!(now(&pool, "two", Hook::Submit).await.is_none());
}

#[tokio::test]
async fn long_preparations_take_no_place_of_others() {
    let pool = Pool::new(16);
    let mut all = Vec::new();
    for template in ["a", "b", "c", "d"] {
        all.extend(crowd(&pool, template, &[Hook::Prepare]).await);
    }
    assert_eq!(all.len(), 16);
    assert!(now(&pool, "a", Hook::Submit).await.is_some());
    drop(all);
    assert!(now(&pool, "a", Hook::Prepare).await.is_some());
}
