//! What becomes of route status and Events.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::render::{Text, Type};

/// How a write of a route's status has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusWrite {
    /// It is there.
    Written,
    /// The route had changed meanwhile: tried again.
    Conflict,
    /// RBAC does not allow it.
    Forbidden,
    /// Anything else: tried again.
    Failed,
}

/// What has become of an Event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventResult {
    /// It is there, or its count is.
    Posted,
    /// It was too much.
    Dropped,
    /// RBAC does not allow it.
    Forbidden,
    /// Anything else.
    Failed,
}

/// The numbers.
#[derive(Debug, Default)]
pub struct StatusCounters {
    leads: AtomicBool,
    writes: [AtomicU64; 4],
    events: [AtomicU64; 4],
}

// === impl StatusCounters ===

impl StatusCounters {
    /// Whether this process writes the cluster's route status.
    pub fn lead(&self, leads: bool) {
        self.leads.store(leads, Ordering::Relaxed);
    }

    /// Whether it does.
    pub fn leads(&self) -> bool {
        self.leads.load(Ordering::Relaxed)
    }

    /// Counts a write.
    pub fn write(&self, result: StatusWrite) {
        self.writes[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Writes that have ended so.
    pub fn writes(&self, result: StatusWrite) -> u64 {
        self.writes[result as usize].load(Ordering::Relaxed)
    }

    /// Counts an Event.
    pub fn event(&self, result: EventResult) {
        self.events[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Events of which that has become.
    pub fn events(&self, result: EventResult) -> u64 {
        self.events[result as usize].load(Ordering::Relaxed)
    }

    /// Adds them to the page.
    pub fn render(&self, text: &mut Text) {
        let name = "nodeway_status_leader";
        text.family(name, Type::Gauge, "1 on the node that writes the cluster's route status.");
        text.sample::<&str>(name, &[], u8::from(self.leads()));
        let name = "nodeway_status_writes_total";
        text.family(name, Type::Counter, "Writes of routes' status, by what came of them.");
        for result in StatusWrite::ALL {
            text.sample(name, &[("result", result.name())], self.writes(result));
        }
        let name = "nodeway_events_total";
        text.family(name, Type::Counter, "Events for users, by what became of them.");
        for result in EventResult::ALL {
            text.sample(name, &[("result", result.name())], self.events(result));
        }
    }
}

impl StatusWrite {
    const ALL: [Self; 4] = [Self::Written, Self::Conflict, Self::Forbidden, Self::Failed];

    fn name(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Conflict => "conflict",
            Self::Forbidden => "forbidden",
            Self::Failed => "failed",
        }
    }
}

impl EventResult {
    const ALL: [Self; 4] = [Self::Posted, Self::Dropped, Self::Forbidden, Self::Failed];

    fn name(self) -> &'static str {
        match self {
            Self::Posted => "posted",
            Self::Dropped => "dropped",
            Self::Forbidden => "forbidden",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_result_is_counted_by_its_name() {
        let counters = StatusCounters::default();
        counters.lead(true);
        counters.write(StatusWrite::Conflict);
        counters.event(EventResult::Dropped);
        let mut text = Text::default();
        counters.render(&mut text);
        let page = text.finish();
        for line in [
            "nodeway_status_leader 1\n",
            "nodeway_status_writes_total{result=\"written\"} 0\n",
            "nodeway_status_writes_total{result=\"conflict\"} 1\n",
            "nodeway_events_total{result=\"dropped\"} 1\n",
        ] {
            assert!(page.contains(line), "{line}: {page}");
        }
    }
}
