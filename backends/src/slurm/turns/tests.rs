//! Everybody has a turn, and odd ones have fewer.

use super::*;

#[test]
fn everybody_has_a_turn_before_anybody_has_another() {
    let ids: Vec<String> = (0..100).map(|id| id.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let (mut turns, mut now) = (Turns::default(), Instant::now());
    let mut asked: HashMap<&str, usize> = HashMap::new();
    for _ in 0..3 {
        let portion = turns.portion(&ids, now);
        assert_eq!(portion.len(), PORTION);
        for id in portion {
            turns.told(id, now);
            *asked.entry(id).or_default() += 1;
        }
        now += Duration::from_secs(1);
    }
    assert!(asked.len() == 100 && asked.values().all(|times| *times <= 2), "{asked:?}");
}

#[test]
fn an_odd_one_is_asked_about_less_and_less_often() {
    let (mut turns, start) = (Turns::default(), Instant::now());
    let mut asked = Vec::new();
    for second in (0..4000).step_by(15) {
        let now = start + Duration::from_secs(second);
        if turns.portion(&["7"], now) == ["7"] {
            turns.failed("7", now);
            asked.push(second);
        }
    }
    assert_eq!(asked, [0, 15, 45, 105, 225, 465, 945, 1905, 2865, 3825]);
    let now = start + Duration::from_secs(5000);
    turns.told("7", now);
    assert_eq!(turns.portion(&["7"], now), ["7"]);
}
