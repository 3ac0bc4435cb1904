//! What connections are counted under that the proxy never sees: a number for each way through the objects.
//!
//! Not the counters: those are `telemetry`'s.

use std::collections::HashMap;
use std::hash::BuildHasher;

use nodeway_core::model::ObjectName;

/// Of which objects a connection is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Labels {
    /// The Service that was dialled.
    pub parent: ObjectName,
    /// Its port.
    pub port: u16,
    /// The route that was followed.
    pub route: Option<ObjectName>,
    /// The Service that answered, or should have, and its port; none if the route's reference is in vain.
    pub backend: Option<(ObjectName, u16)>,
}

/// All numbers that have been given. They are never taken back: there are as many as ways through the objects,
/// and connections outlive objects.
#[derive(Debug, Default)]
pub struct Series {
    labels: HashMap<u32, Labels>,
    /// The numbers of backends, as this process has them.
    backends: HashMap<u32, u64>,
}

// === impl Series ===

impl Series {
    /// The number of these labels: the same in another process, unless two of a cluster's have one hash.
    pub(super) fn number(&mut self, labels: &Labels) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "any 32 bits of it will do")]
        let mut number = foldhash::fast::FixedState::default().hash_one(labels) as u32;
        loop {
            match self.labels.get(&number) {
                Some(known) if known == labels => return number,
                Some(_) => number = number.wrapping_add(1),
                None => {
                    self.labels.insert(number, labels.clone());
                    return number;
                }
            }
        }
    }

    /// Says which backend it is that answers now.
    pub(super) fn is_of(&mut self, number: u32, backend: Option<u64>) {
        if let Some(backend) = backend {
            self.backends.insert(number, backend);
        }
    }

    /// The number of the backend that answers, if there is any.
    pub fn backend(&self, number: u32) -> Option<u64> {
        self.backends.get(&number).copied()
    }

    /// What the number means; none if it is not from here.
    pub fn labels(&self, number: u32) -> Option<&Labels> {
        self.labels.get(&number)
    }

    /// The numbers of what this Service's port answers.
    pub(super) fn answered_by(&self, service: &ObjectName, port: u16) -> Vec<u32> {
        let is = |labels: &Labels| {
            labels.backend.as_ref().is_some_and(|(s, p)| (s, *p) == (service, port))
        };
        self.labels.iter().filter(|(_, labels)| is(labels)).map(|(number, _)| *number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_has_a_number_of_its_own_and_keeps_it() {
        let labels = |name: &str, port| Labels {
            parent: ObjectName::new("ns", name),
            port,
            route: None,
            backend: Some((ObjectName::new("ns", "db"), 5432)),
        };
        let (mut one, mut other) = (Series::default(), Series::default());
        let all: Vec<Labels> = (1..200).map(|port| labels("db", port)).collect();
        let numbers: Vec<u32> = all.iter().map(|labels| one.number(labels)).collect();
        let again: Vec<u32> = all.iter().map(|labels| other.number(labels)).collect();
        assert_eq!(numbers, again, "the same in another process");
        for (labels, number) in all.iter().zip(&numbers) {
            assert_eq!(one.labels(*number), Some(labels));
        }
        let mut answered = one.answered_by(&ObjectName::new("ns", "db"), 5432);
        let mut numbers = numbers;
        answered.sort_unstable();
        numbers.sort_unstable();
        assert_eq!(answered, numbers);
        assert!(one.answered_by(&ObjectName::new("ns", "db"), 5433).is_empty());
    }
}
