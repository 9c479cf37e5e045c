//! What a list promises: its order, its pages, its filters.

use super::*;

pub(super) async fn all<S: Store>(make: &impl Fn() -> S) {
    pages_are_in_order_and_stable(make()).await;
    records_of_one_moment_are_told_apart(make()).await;
    filters_hold_together(make()).await;
    states_are_chosen(make()).await;
}

async fn pages_are_in_order_and_stable(store: impl Store) {
    for number in 1..=25 {
        create(&store, &record(number)).await;
    }
    let mut query = ListQuery { limit: 10, ..ListQuery::default() };
    let mut seen = Vec::new();
    let mut newest = 100;
    loop {
        let page = store.list(&query).await.unwrap();
        let Some(last) = page.last() else { break };
        query.after = Some((last.created_at, last.id.clone()));
        seen.extend(page.iter().map(|record| record.created_at.millis()));
        // What comes meanwhile is newer: it moves nothing.
        create(&store, &record(newest)).await;
        newest += 1;
    }
    assert_eq!(seen, (1..=25).rev().collect::<Vec<i64>>());
}

async fn records_of_one_moment_are_told_apart(store: impl Store) {
    let at = Time::from_millis(5);
    for number in [3, 1, 4, 2, 5] {
        create(&store, &Record { created_at: at, ..record(number) }).await;
    }
    let mut query = ListQuery { limit: 2, ..ListQuery::default() };
    let mut seen = Vec::new();
    loop {
        let page = store.list(&query).await.unwrap();
        let Some(last) = page.last() else { break };
        query.after = Some((last.created_at, last.id.clone()));
        seen.extend(page.into_iter().map(|record| record.id));
    }
    let mut wanted: Vec<SessionId> = (1..=5).map(|number| record(number).id).collect();
    wanted.sort_by(|a, b| b.cmp(a));
    assert_eq!(seen, wanted);
    let none = ListQuery { limit: 0, ..ListQuery::default() };
    assert!(store.list(&none).await.unwrap().is_empty());
}

async fn filters_hold_together(store: impl Store) {
    for number in 1..=6 {
        let template = if number % 2 == 0 { "even" } else { "odd" };
        create(&store, &Record { template: template.to_owned(), ..record(number) }).await;
    }
    create(&store, &ended(7, Time::from_millis(70))).await;
    let ids = async |query: ListQuery| -> Vec<i64> {
        let records = store.list(&ListQuery { limit: 100, ..query }).await.unwrap();
        records.iter().map(|record| record.created_at.millis()).collect()
    };
    assert_eq!(ids(ListQuery::default()).await, [6, 5, 4, 3, 2, 1], "live ones by default");
    assert_eq!(ids(ListQuery { states: vec![State::Ended], ..ListQuery::default() }).await, [7]);
    let even = ListQuery { template: Some("even".to_owned()), ..ListQuery::default() };
    assert_eq!(ids(even.clone()).await, [6, 4, 2]);
    let tag = vec![("number".to_owned(), "4".to_owned())];
    assert_eq!(ids(ListQuery { tags: tag.clone(), ..even.clone() }).await, [4]);
    let other = vec![tag[0].clone(), ("number".to_owned(), "5".to_owned())];
    assert!(ids(ListQuery { tags: other, ..even }).await.is_empty(), "tags are all needed");
    let some = ListQuery { ids: Some(vec![record(3).id, record(9).id]), ..ListQuery::default() };
    assert_eq!(ids(some).await, [3]);
    assert_eq!(ids(ListQuery { name: Some("name-2".to_owned()), ..ListQuery::default() }).await, [2]);
    assert_eq!(store.live().await.unwrap().records.len(), 6);
}

async fn states_are_chosen(store: impl Store) {
    create(&store, &record(1)).await;
    create(&store, &Record { stage: Stage::Running { interrupted: None }, ..record(2) }).await;
    create(&store, &ended(3, Time::from_millis(30))).await;
    let (pending, running, ended) = (State::Pending, State::Running, State::Ended);
    for (states, wanted) in [
        (vec![], vec![2, 1]),
        (vec![pending], vec![1]),
        (vec![running], vec![2]),
        (vec![ended], vec![3]),
        (vec![running, pending], vec![2, 1]),
        (vec![pending, ended], vec![3, 1]),
        (vec![ended, running], vec![3, 2]),
        (vec![pending, running, ended], vec![3, 2, 1]),
    ] {
        let query = ListQuery { states: states.clone(), limit: 10, ..ListQuery::default() };
        let found: Vec<i64> =
            store.list(&query).await.unwrap().iter().map(|record| record.created_at.millis()).collect();
        assert_eq!(found, wanted, "{states:?}");
    }
    let nobody = ListQuery { owner: Some("bob".to_owned()), limit: 10, ..ListQuery::default() };
    assert!(store.list(&nobody).await.unwrap().is_empty());
    let none = ListQuery { ids: Some(Vec::new()), limit: 10, ..ListQuery::default() };
    assert!(store.list(&none).await.unwrap().is_empty(), "no ids are none, not all");
}
