//! What becomes of an object and how its faults are told.

mod attempts;
mod backend_policies;
mod backend_policy_schema;
mod documents;
mod filters;
mod l4_routes;
mod objects;
mod routes;
mod tls_policies;
mod traffic_policies;

use super::*;

fn read(document: Value) -> Translated {
    match recognise(&document) {
        Recognised::Ours(identity) => translate(&identity, document),
        other => panic!("{other:?}"),
    }
}

fn told(translated: &Translated) -> Vec<String> {
    translated.faults.iter().map(ToString::to_string).collect()
}

/// The object is refused, for this reason only.
#[track_caller]
fn refused(document: Value, reason: &str) {
    let translated = read(document);
    assert!(translated.object.is_none());
    let [fault] = &told(&translated)[..] else { panic!("{:?}", translated.faults) };
    assert!(fault.starts_with(reason), "{fault}, not {reason}");
}
