//! What users must know about an object, told from anywhere in the process; `events` posts it.

use std::sync::Arc;

use nodeway_core::model::{Kind, ObjectName};
use tokio::sync::mpsc;

use crate::telemetry::{EventResult, StatusCounters};

/// Notices that may wait.
const MOST_WAITING: usize = 1024;

/// Something that users must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// About which object.
    pub about: Subject,
    /// How it is meant.
    pub tone: Tone,
    /// What it is, for machines: `CamelCase`, one of a few.
    pub reason: &'static str,
    /// What it is, for people. The same thing in the same words is one series.
    pub message: String,
}

/// An object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: ObjectName,
    /// `metadata.uid`, if it is known; else it is asked for.
    pub uid: Option<Arc<str>>,
}

/// How a notice is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tone {
    /// Something is wrong.
    Warning,
    /// Good to know.
    Normal,
    /// What this process has warned of is over; of no interest if it has not warned. May be told again
    /// and again.
    Recovered,
}

/// The way to tell: never waits; what is too much is dropped and counted. Without an API nobody listens.
#[derive(Debug, Clone, Default)]
pub struct Notices(Option<(mpsc::Sender<Notice>, Arc<StatusCounters>)>);

// === impl Notices ===

impl Notices {
    /// A way, and its other end.
    pub(super) fn new(counters: Arc<StatusCounters>) -> (Self, mpsc::Receiver<Notice>) {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        (Self(Some((sender, counters))), receiver)
    }

    /// Tells.
    pub fn tell(&self, notice: Notice) {
        let Some((sender, counters)) = &self.0 else { return };
        if sender.try_send(notice).is_err() {
            counters.event(EventResult::Dropped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_much_is_dropped_and_counted() {
        let counters = Arc::new(StatusCounters::default());
        let (notices, _receiver) = Notices::new(Arc::clone(&counters));
        let about = Subject { kind: Kind::Pod, name: ObjectName::new("a", "b"), uid: None };
        for _ in 0..MOST_WAITING + 3 {
            let (about, message) = (about.clone(), String::new());
            notices.tell(Notice { about, tone: Tone::Warning, reason: "Reason", message });
        }
        assert_eq!(counters.events(EventResult::Dropped), 3);
    }
}
