//! What becomes of active health checks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use nodeway_core::model::ObjectName;

use super::Counter;
use super::family::{Family, Registry, read};
use super::render::{Text, Type};

/// How a check has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckResult {
    /// The endpoint is well.
    Ok,
    /// It has answered that it is not, or nonsense.
    Failed,
    /// It has not answered.
    Unreached,
    /// It cannot be asked so.
    Unfit,
    /// It was not asked: the client or this node was not able to.
    Unasked,
}

/// The numbers of one backend.
#[derive(Debug, Default)]
struct Series {
    checks: [Counter; 5],
    /// Endpoints that were found ill, and well again.
    changes: [Counter; 2],
}

/// The numbers of all checks; one thread counts, any reads.
#[derive(Debug)]
pub struct CheckCounters {
    start: Instant,
    registry: Registry<ObjectName, Series>,
    late: AtomicU64,
}

// === impl CheckCounters ===

impl CheckCounters {
    /// Nothing has been counted.
    pub fn new() -> Self {
        Self { start: Instant::now(), registry: Registry::default(), late: AtomicU64::new(0) }
    }

    /// A check of an endpoint of `backend` has ended so.
    pub fn checked(&self, backend: &ObjectName, result: CheckResult) {
        self.count(backend, |series| series.checks[result as usize].add(1));
    }

    /// An endpoint of `backend` has been found ill, or well again.
    pub fn changed(&self, backend: &ObjectName, well: bool) {
        self.count(backend, |series| series.changes[usize::from(well)].add(1));
    }

    /// A check has begun much later than it should.
    pub fn late(&self) {
        self.late.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self, backend: &ObjectName, count: impl FnOnce(&Series)) {
        let family: Family<(), ObjectName, Series> = Family::new(self.registry.clone());
        count(&family.uncached(backend.clone(), self.start.elapsed().as_secs()).entry.series);
    }

    /// Adds them to the page.
    pub fn render(&self, text: &mut Text) {
        let mut all = Vec::new();
        read(&self.registry, self.start.elapsed().as_secs(), |backend, series| {
            let numbers = (
                series.checks.each_ref().map(Counter::get),
                series.changes.each_ref().map(Counter::get),
            );
            all.push((backend.clone(), numbers));
        });
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        let name = "nodeway_health_checks_total";
        text.family(name, Type::Counter, "Active health checks of endpoints that have ended.");
        for (backend, (checks, _)) in &all {
            for (result, count) in CheckResult::ALL.iter().zip(checks) {
                text.sample(name, &labels(backend, ("result", result.name())), count);
            }
        }
        let name = "nodeway_health_changes_total";
        let help = "Endpoints that active health checks have found ill, and well again.";
        text.family(name, Type::Counter, help);
        for (backend, (_, changes)) in &all {
            for (to, count) in ["ill", "well"].into_iter().zip(changes) {
                text.sample(name, &labels(backend, ("to", to)), count);
            }
        }
        let name = "nodeway_health_checks_late_total";
        let help =
            "Active health checks that began more than a second late: too many for this node.";
        text.family(name, Type::Counter, help);
        text.sample::<&str>(name, &[], self.late.load(Ordering::Relaxed));
    }
}

impl Default for CheckCounters {
    fn default() -> Self {
        Self::new()
    }
}

// === impl CheckResult ===

impl CheckResult {
    const ALL: [Self; 5] = [Self::Ok, Self::Failed, Self::Unreached, Self::Unfit, Self::Unasked];

    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Unreached => "unreached",
            Self::Unfit => "unfit",
            Self::Unasked => "unasked",
        }
    }
}

fn labels<'a>(
    backend: &'a ObjectName,
    more: (&'static str, &'a str),
) -> [(&'static str, &'a str); 3] {
    [("backend_namespace", &*backend.namespace), ("backend_name", &*backend.name), more]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_counted_by_backend_and_result() {
        let counters = CheckCounters::new();
        let web = ObjectName::new("shop", "web");
        counters.checked(&web, CheckResult::Ok);
        counters.checked(&web, CheckResult::Unreached);
        counters.changed(&web, false);
        counters.late();
        let mut text = Text::default();
        counters.render(&mut text);
        let page = text.finish();
        let of = "backend_namespace=\"shop\",backend_name=\"web\"";
        for line in [
            format!("nodeway_health_checks_total{{{of},result=\"ok\"}} 1\n"),
            format!("nodeway_health_checks_total{{{of},result=\"failed\"}} 0\n"),
            format!("nodeway_health_checks_total{{{of},result=\"unreached\"}} 1\n"),
            format!("nodeway_health_changes_total{{{of},to=\"ill\"}} 1\n"),
            "nodeway_health_checks_late_total 1\n".to_owned(),
        ] {
            assert!(page.contains(&line), "{line}: {page}");
        }
    }
}
