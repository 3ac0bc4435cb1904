//! What a route's `status.parents`, or a policy's `status.ancestors`, should become, given what is there. Pure.
//!
//! The list is atomic: it is written whole, with what others say of their parents as it is.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::judged::Shape;

/// We, among the controllers that write a route's status.
pub(super) const CONTROLLER: &str = "nodeway.dev/mesh-controller";

/// What should be said of one parent.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// As the spec gives it.
    pub(super) reference: Box<RawValue>,
    /// In the order in which they are written.
    pub(super) conditions: Box<[Verdict]>,
}

/// What a condition should say.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Verdict {
    pub(super) condition: &'static str,
    pub(super) holds: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// What has to be written.
#[derive(Debug)]
pub(super) struct Due {
    /// The whole list, as JSON.
    pub(super) parents: String,
    /// What users should hear of: what does not hold now, or holds again.
    pub(super) news: Vec<Verdict>,
    /// Parents for which there is no place in the list.
    pub(super) left_out: usize,
}

/// An entry, as far as we read it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    controller_name: String,
    #[serde(default, alias = "ancestorRef")]
    parent_ref: Value,
    #[serde(default)]
    conditions: Vec<Condition>,
}

/// A condition (meta/v1).
#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Condition {
    r#type: String,
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_generation: Option<i64>,
    last_transition_time: String,
    reason: String,
    message: String,
}

/// What has to be written so that `list` says what is `wanted` of the spec's `generation`; nothing, if it
/// says so already. `time` is what a condition that changes is given.
pub(super) fn due(
    shape: Shape,
    list: &str,
    wanted: &[Wanted],
    generation: i64,
    time: &str,
) -> Option<Due> {
    let there: Vec<&RawValue> = serde_json::from_str(list).unwrap_or_default();
    let mut ours: Vec<Option<&Wanted>> = wanted.iter().map(Some).collect();
    // The same reference twice is one parent.
    for i in 1..ours.len() {
        if wanted[..i].iter().any(|w| same(&w.reference, &wanted[i].reference)) {
            ours[i] = None;
        }
    }
    let (mut parents, mut news, mut changed) = (Vec::new(), Vec::new(), false);
    for text in &there {
        // What cannot be read is not ours.
        let entry = serde_json::from_str::<Entry>(text.get()).ok();
        let Some(entry) = entry.filter(|entry| entry.controller_name == CONTROLLER) else {
            parents.push(text.get().to_owned());
            continue;
        };
        let mut rest = ours.iter_mut();
        let found = rest.find_map(|w| w.take_if(|w| value(&w.reference) == entry.parent_ref));
        match found {
            Some(wanted) if entry.says(wanted, generation) => parents.push(text.get().to_owned()),
            Some(wanted) => {
                changed = true;
                parents.push(wanted.entry(shape, &entry.conditions, generation, time));
                wanted.news(&entry.conditions, &mut news);
            }
            None => changed = true,
        }
    }
    let mut left_out = 0;
    for wanted in ours.into_iter().flatten() {
        if parents.len() >= shape.most() {
            left_out += 1;
            continue;
        }
        changed = true;
        parents.push(wanted.entry(shape, &[], generation, time));
        wanted.news(&[], &mut news);
    }
    changed.then(|| Due { parents: format!("[{}]", parents.join(",")), news, left_out })
}

fn value(text: &RawValue) -> Value {
    serde_json::from_str(text.get()).unwrap_or_default()
}

fn same(a: &RawValue, b: &RawValue) -> bool {
    a.get() == b.get() || value(a) == value(b)
}

// === impl Entry ===

impl Entry {
    fn says(&self, wanted: &Wanted, generation: i64) -> bool {
        self.conditions.len() == wanted.conditions.len()
            && wanted.conditions.iter().all(|verdict| {
                verdict.of(&self.conditions).is_some_and(|condition| {
                    verdict.is(condition) && condition.observed_generation == Some(generation)
                })
            })
    }
}

// === impl Wanted ===

impl Wanted {
    fn entry(&self, shape: Shape, before: &[Condition], generation: i64, time: &str) -> String {
        let conditions = self.conditions.iter().map(|verdict| {
            let kept = verdict.of(before).filter(|before| {
                before.status == verdict.status() && !before.last_transition_time.is_empty()
            });
            Condition {
                r#type: verdict.condition.to_owned(),
                status: verdict.status().to_owned(),
                observed_generation: Some(generation),
                last_transition_time: kept
                    .map_or_else(|| time.to_owned(), |kept| kept.last_transition_time.clone()),
                reason: verdict.reason.to_owned(),
                message: verdict.message.clone(),
            }
        });
        let conditions: Vec<Condition> = conditions.collect();
        // Strings and numbers: it cannot fail.
        let conditions = serde_json::to_string(&conditions).unwrap_or_default();
        let (name, reference) = (shape.reference(), self.reference.get());
        format!(
            r#"{{"{name}":{reference},"controllerName":"{CONTROLLER}","conditions":{conditions}}}"#
        )
    }

    /// Adds what has become worse, or good again; several parents may say the same.
    fn news(&self, before: &[Condition], news: &mut Vec<Verdict>) {
        for verdict in &self.conditions {
            let before = verdict.of(before);
            let known = before.is_some_and(|before| verdict.is(before));
            let good_as_ever = verdict.holds && before.is_none_or(|before| before.status == "True");
            if !known && !good_as_ever && !news.contains(verdict) {
                news.push(verdict.clone());
            }
        }
    }
}

// === impl Verdict ===

impl Verdict {
    fn status(&self) -> &'static str {
        if self.holds { "True" } else { "False" }
    }

    /// The condition of the same type.
    fn of<'a>(&self, conditions: &'a [Condition]) -> Option<&'a Condition> {
        conditions.iter().find(|condition| condition.r#type == self.condition)
    }

    fn is(&self, condition: &Condition) -> bool {
        condition.status == self.status()
            && condition.reason == self.reason
            && condition.message == self.message
    }
}

#[cfg(test)]
mod tests;
