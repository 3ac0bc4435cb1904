use proptest::prelude::*;
use serde_json::json;

use super::*;

const BEFORE: &str = "2026-01-01T00:00:00Z";
const NOW: &str = "2026-02-02T00:00:00Z";

fn reference(name: &str) -> Value {
    json!({"group": "", "kind": "Service", "name": name})
}

fn raw(value: &Value) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).unwrap()
}

fn wanted(name: &str, accepted: Result<(), &'static str>) -> Wanted {
    let verdict = |condition, result: Result<(), &'static str>| Verdict {
        condition,
        holds: result.is_ok(),
        reason: result.err().unwrap_or(condition),
        message: format!("{condition} of {name}: {result:?}"),
    };
    let conditions = [verdict("Accepted", accepted), verdict("ResolvedRefs", Ok(()))].into();
    Wanted { reference: raw(&reference(name)), conditions }
}

/// The list after what is due has been written.
fn written(list: &str, wanted: &[Wanted], generation: i64, time: &str) -> String {
    due(Shape::Parents, list, wanted, generation, time)
        .map_or_else(|| list.to_owned(), |due| due.parents)
}

fn parsed(list: &str) -> Value {
    serde_json::from_str(list).unwrap()
}

fn reasons(news: &[Verdict]) -> Vec<(&str, bool)> {
    news.iter().map(|verdict| (verdict.reason, verdict.holds)).collect()
}

#[test]
fn a_new_route_is_given_an_entry_and_no_news_if_it_is_good() {
    let due = due(Shape::Parents, "", &[wanted("web", Ok(()))], 3, NOW).unwrap();
    let expected = json!([{"parentRef": reference("web"), "controllerName": CONTROLLER, "conditions": [
        {"type": "Accepted", "status": "True", "observedGeneration": 3, "lastTransitionTime": NOW,
            "reason": "Accepted", "message": "Accepted of web: Ok(())"},
        {"type": "ResolvedRefs", "status": "True", "observedGeneration": 3, "lastTransitionTime": NOW,
            "reason": "ResolvedRefs", "message": "ResolvedRefs of web: Ok(())"}]}]);
    assert_eq!(parsed(&due.parents), expected);
    assert!(due.news.is_empty() && due.left_out == 0);
}

#[test]
fn the_time_of_a_condition_moves_with_its_status_alone() {
    let bad = wanted("web", Err("NoMatchingParent"));
    let first = due(Shape::Parents, "[]", std::slice::from_ref(&bad), 1, BEFORE).unwrap();
    assert_eq!(reasons(&first.news), [("NoMatchingParent", false)]);
    let times = |list: &str| {
        let list = parsed(list);
        let conditions = list[0]["conditions"].as_array().unwrap();
        let time = |c: &Value| c["lastTransitionTime"].as_str().unwrap().to_owned();
        conditions.iter().map(time).collect::<Vec<_>>()
    };
    // Another reason, another generation: the same status.
    let worse =
        due(Shape::Parents, &first.parents, &[wanted("web", Err("UnsupportedValue"))], 2, NOW)
            .unwrap();
    assert_eq!(times(&worse.parents), [BEFORE, BEFORE]);
    assert_eq!(reasons(&worse.news), [("UnsupportedValue", false)]);
    let seen = due(Shape::Parents, &first.parents, std::slice::from_ref(&bad), 2, NOW).unwrap();
    assert_eq!(times(&seen.parents), [BEFORE, BEFORE]);
    assert!(seen.news.is_empty(), "the same of another generation");
    let mended = due(Shape::Parents, &first.parents, &[wanted("web", Ok(()))], 2, NOW).unwrap();
    assert_eq!(times(&mended.parents), [NOW, BEFORE]);
    assert_eq!(reasons(&mended.news), [("Accepted", true)]);
}

#[test]
fn what_several_parents_say_is_told_once() {
    let all: Vec<Wanted> = ["a", "b"]
        .map(|name| {
            let mut wanted = wanted(name, Err("UnsupportedValue"));
            wanted.conditions[0].message = "the whole route".to_owned();
            wanted
        })
        .into();
    assert_eq!(due(Shape::Parents, "", &all, 1, NOW).unwrap().news.len(), 1);
}

#[test]
fn entries_of_others_stay_byte_for_byte_and_in_place() {
    let other = r#"{ "controllerName":"example.com/other", "parentRef": {"name":"g", "x":1.50},"conditions":[] }"#;
    let strange = r#"{"controllerName":7}"#;
    let list = written("[]", &[wanted("gone", Ok(()))], 1, BEFORE);
    let gone = list.strip_prefix('[').unwrap().strip_suffix(']').unwrap();
    let list = format!("[{strange},{gone},{other}]");
    let due = due(Shape::Parents, &list, &[wanted("web", Ok(()))], 1, NOW).unwrap();
    assert!(due.parents.starts_with(&format!("[{strange},{other},")), "{}", due.parents);
    assert!(!due.parents.contains("gone"));
    // A route that is ours no more.
    let none = super::due(Shape::Parents, &due.parents, &[], 1, NOW).unwrap();
    assert_eq!(none.parents, format!("[{strange},{other}]"));
    assert!(super::due(Shape::Parents, &none.parents, &[], 1, NOW).is_none());
}

#[test]
fn there_is_no_place_for_a_thirty_third_parent() {
    let other = |i| json!({"controllerName": "other", "parentRef": {"name": format!("g{i}")}});
    let full: Vec<Value> = (0..31).map(other).collect();
    let list = json!(full).to_string();
    let both = [wanted("a", Ok(())), wanted("b", Ok(()))];
    let first = due(Shape::Parents, &list, &both, 1, NOW).unwrap();
    assert_eq!((parsed(&first.parents).as_array().unwrap().len(), first.left_out), (32, 1));
    assert!(
        due(Shape::Parents, &first.parents, &both, 1, NOW).is_none(),
        "and that is no reason to write again"
    );
}

#[test]
fn the_same_parent_twice_is_one() {
    let twice = [wanted("a", Ok(())), wanted("a", Ok(()))];
    let list = written("", &twice, 1, NOW);
    assert_eq!(parsed(&list).as_array().unwrap().len(), 1);
    let doubled = format!("[{0},{0}]", list.strip_prefix('[').unwrap().strip_suffix(']').unwrap());
    assert_eq!(written(&doubled, &twice, 1, NOW), list);
}

/// One of the entries that a list may have.
fn entry() -> impl Strategy<Value = Value> {
    let condition = (0..3usize, any::<bool>(), 0..3i64).prop_map(|(kind, holds, generation)| {
        let kind = ["Accepted", "ResolvedRefs", "Else"][kind];
        json!({"type": kind, "reason": "Reason",
            "status": if holds { "True" } else { "False" }, "observedGeneration": generation,
            "lastTransitionTime": BEFORE, "message": ""})
    });
    let conditions = prop::collection::vec(condition, 0..4);
    let strange =
        prop_oneof![Just(json!(null)), Just(json!(5)), Just(json!({"controllerName": []}))];
    let whose = prop_oneof![3 => Just(CONTROLLER), 2 => Just("example.com/other"), 1 => Just("")];
    prop_oneof![
        9 => (whose, 0..4usize, conditions).prop_map(|(whose, name, conditions)| {
            json!({"controllerName": whose, "parentRef": reference(["a", "b", "c", "d"][name]),
                "conditions": conditions, "unknown": 1})
        }),
        1 => strange,
    ]
}

fn wishes() -> impl Strategy<Value = Vec<Wanted>> {
    let wish = (0..5usize, prop::option::of(Just("NoMatchingParent")));
    prop::collection::vec(wish, 0..6).prop_map(|wishes| {
        let wish = |(name, bad): (usize, Option<&'static str>)| {
            wanted(["a", "b", "c", "d", "e"][name], bad.map_or(Ok(()), Err))
        };
        wishes.into_iter().map(wish).collect()
    })
}

proptest! {
    #[test]
    fn whatever_is_there_others_keep_theirs_and_ours_are_right(
        list in prop::collection::vec(entry(), 0..40),
        wishes in wishes(),
        generation in 0..3i64,
    ) {
        let ours = |entry: &Value| entry["controllerName"] == CONTROLLER;
        let text = json!(list).to_string();
        let after = written(&text, &wishes, generation, NOW);
        // Twice is once.
        prop_assert!(due(Shape::Parents, &after, &wishes, generation, NOW).is_none());
        let after: Vec<Value> = serde_json::from_str(&after).unwrap();
        let of_others = |list: &[Value]| {
            list.iter().filter(|entry| !ours(entry)).cloned().collect::<Vec<_>>()
        };
        prop_assert_eq!(of_others(&list), of_others(&after));
        prop_assert!(after.len() <= list.len().max(Shape::Parents.most()));
        for entry in after.iter().filter(|entry| ours(entry)) {
            let wish = wishes.iter().find(|wish| value(&wish.reference) == entry["parentRef"]);
            let wish = wish.expect("nobody wants it");
            prop_assert_eq!(
                &entry["conditions"][0]["reason"], wish.conditions[0].reason, "{}", entry
            );
        }
        let room = after.len() < Shape::Parents.most();
        for wish in &wishes {
            let there = after.iter().filter(|entry| {
                ours(entry) && entry["parentRef"] == value(&wish.reference)
            });
            prop_assert!(there.count() == 1 || !room);
        }
    }
}
