//! Numbers of the control flow.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::counter::Histogram;
use super::render::{Text, Type};

/// What the control flow tells of itself.
#[derive(Debug, Default)]
pub struct Gauges {
    snapshots: AtomicU64,
    compile_micros: AtomicU64,
    snapshot_problems: AtomicU64,
    object_problems: AtomicU64,
    frontends: AtomicU64,
    carried: AtomicU64,
    pods_enrolled: AtomicU64,
    pods_starting: AtomicU64,
    pods_failed: AtomicU64,
    enrolments: Histogram,
}

// === impl Gauges ===

impl Gauges {
    /// A snapshot was compiled and published.
    pub fn compiled(&self, took: Duration, problems: usize) {
        self.snapshots.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.compile_micros.store(micros, Ordering::Relaxed);
        self.snapshot_problems.store(problems as u64, Ordering::Relaxed);
    }

    /// So many things are wrong with objects.
    pub fn object_problems(&self, n: usize) {
        self.object_problems.store(n as u64, Ordering::Relaxed);
    }

    /// The kernel knows so many addresses; so many frontends go without the proxy.
    pub fn frontends(&self, n: usize, carried: usize) {
        self.frontends.store(n as u64, Ordering::Relaxed);
        self.carried.store(carried as u64, Ordering::Relaxed);
    }

    /// So many pods are caught, so many will be once they run, so many should be and cannot.
    pub fn pods(&self, enrolled: usize, starting: usize, failed: usize) {
        self.pods_enrolled.store(enrolled as u64, Ordering::Relaxed);
        self.pods_starting.store(starting as u64, Ordering::Relaxed);
        self.pods_failed.store(failed as u64, Ordering::Relaxed);
    }

    /// A pod is caught, and ran so long before it was. For one thread to say.
    pub fn pod_enrolled(&self, after: Duration) {
        self.enrolments.observe(after);
    }

    /// Adds them to the page.
    pub fn render(&self, text: &mut Text) {
        let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let mut one = |name: &str, kind: Type, help: &str, value: String| {
            text.family(name, kind, help);
            text.sample::<&str>(name, &[], value);
        };
        let micros = get(&self.compile_micros);
        one(
            "nodeway_snapshots_total",
            Type::Counter,
            "Snapshots published.",
            get(&self.snapshots).to_string(),
        );
        one(
            "nodeway_snapshot_compile_seconds",
            Type::Gauge,
            "How long the last snapshot took to compile.",
            format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000),
        );
        one(
            "nodeway_ebpf_frontends",
            Type::Gauge,
            "Addresses that the kernel side catches.",
            get(&self.frontends).to_string(),
        );
        one(
            "nodeway_ebpf_frontends_l4",
            Type::Gauge,
            "Service ports, by family, whose connections go to endpoints without the proxy.",
            get(&self.carried).to_string(),
        );
        let name = "nodeway_problems";
        text.family(name, Type::Gauge, "What is wrong with objects, each by itself or together.");
        text.sample(name, &[("in", "objects")], get(&self.object_problems));
        text.sample(name, &[("in", "snapshot")], get(&self.snapshot_problems));
        let name = "nodeway_pods";
        text.family(name, Type::Gauge, "Pods of this node that are to be caught.");
        text.sample(name, &[("state", "enrolled")], get(&self.pods_enrolled));
        text.sample(name, &[("state", "starting")], get(&self.pods_starting));
        text.sample(name, &[("state", "failed")], get(&self.pods_failed));
        let name = "nodeway_pod_enrolment_duration_seconds";
        let help =
            "From a pod's first process (or, if later, its being known) until it was caught.";
        text.family(name, Type::Histogram, help);
        let (buckets, sum) = self.enrolments.read();
        text.histogram::<&str>(name, &[], &buckets, sum);
    }
}

/// How many connects the kernel side has seen end how.
pub fn render_exits(text: &mut Text, exits: &[(&'static str, u64)]) {
    let name = "nodeway_ebpf_connects_total";
    text.family(name, Type::Counter, "connect(2) calls below the cgroup, by how they left.");
    for (exit, count) in exits {
        text.sample(name, &[("exit", exit)], count);
    }
}

/// How old what the source has said may be.
pub fn render_source_age(text: &mut Text, age: Duration) {
    let name = "nodeway_source_age_seconds";
    let help = "Since when the source's state is no longer known to be current; 0 while it is.";
    text.family(name, Type::Gauge, help);
    text.sample::<&str>(name, &[], format_args!("{:.3}", age.as_secs_f64()));
}

/// Whether payload skips the loopback stack, why, and how much of it did.
pub fn render_acceleration(text: &mut Text, (on, reason): (bool, &str), octets: u64) {
    let name = "nodeway_acceleration";
    let help = "1: whether payload skips the loopback stack, and what decided that.";
    text.family(name, Type::Gauge, help);
    let state = if on { "on" } else { "off" };
    text.sample(name, &[("state", state), ("reason", reason)], 1);
    let name = "nodeway_accelerated_bytes_total";
    text.family(name, Type::Counter, "Payload that skipped the loopback stack.");
    text.sample::<&str>(name, &[], octets);
}
