//! What the figures should be, and whether they are.
//!
//! Not a test: on a machine that others use too a goal may be missed, and the table says so.

use std::fmt::Write as _;

use super::cases::Case;
use super::figures::Spread;
use super::memory::{CONNECTIONS, Memory};
use super::proxies::ProxyKind;
use super::report::{Sample, cpu_ratio, mebibytes, series};

/// One of them.
pub(super) struct Goal {
    pub(super) what: String,
    pub(super) goal: String,
    pub(super) is: String,
    pub(super) met: bool,
}

/// CPU per request to HAProxy's, at most.
const TO_HAPROXY: [(Case, f64); 4] =
    [(Case::KeepAlive, 0.85), (Case::H2c, 1.0), (Case::Connect, 1.0), (Case::Large, 1.0)];
/// CPU per request with many Services and routes to that with few, at most.
const BY_SIZE: f64 = 1.05;
/// MiB.
const IDLE: f64 = 25.0;
const CONNECTED: f64 = 150.0;

/// Those that the samples tell anything about.
pub(super) fn of(samples: &[Sample], memory: &[Memory]) -> Vec<Goal> {
    let mut goals = Vec::new();
    for (case, most) in TO_HAPROXY {
        let what = match case {
            Case::Large => format!("{}: CPU per byte", case.title()),
            _ => format!("{}: CPU per request", case.title()),
        };
        let ratio = cpu_ratio(samples, case, ProxyKind::Nodeway, ProxyKind::Haproxy);
        goals.extend(ratio.map(|ratio| Goal::at_most(what, most, "x HAProxy's", ratio)));
    }
    goals.extend(fixed_rate(samples));
    for memory in memory.iter().filter(|memory| memory.proxy == ProxyKind::Nodeway) {
        let connected = format!("memory with {CONNECTIONS} idle connections");
        goals.push(Goal::memory("memory at idle".into(), IDLE, memory.idle));
        goals.push(Goal::memory(connected, CONNECTED, memory.connected));
    }
    let ratio = cpu_ratio(samples, Case::Size, ProxyKind::Many, ProxyKind::Few);
    goals.extend(ratio.map(|ratio| {
        let what = "10 000 Services, 5 000 routes: CPU per request".to_owned();
        Goal::at_most(what, BY_SIZE, "x that at 10", ratio)
    }));
    goals
}

/// Nobody's p99 is to be better.
fn fixed_rate(samples: &[Sample]) -> Option<Goal> {
    let p99 = |proxy| {
        let rounds = series(samples, Case::Rate, proxy, Sample::p99);
        Spread::of(&rounds).map(|spread| spread.median)
    };
    let ours = p99(ProxyKind::Nodeway)?;
    let peers = [ProxyKind::Haproxy, ProxyKind::Nginx, ProxyKind::Envoy];
    let peers: Vec<_> =
        peers.into_iter().filter_map(|kind| Some((kind.name(), p99(kind)?))).collect();
    let told: Vec<String> = peers.iter().map(|(name, p99)| format!("{name} {p99:.2}")).collect();
    let goal = Goal {
        what: format!("{}: p99", Case::Rate.title()),
        goal: "at most every peer's".into(),
        is: format!("{ours:.2} ms; {}", told.join(", ")),
        met: peers.iter().all(|(_, theirs)| ours <= *theirs),
    };
    (!peers.is_empty()).then_some(goal)
}

// === impl Goal ===

impl Goal {
    fn at_most(what: String, most: f64, unit: &str, is: Spread) -> Self {
        let goal = format!("at most {most:.2} {unit}");
        Self { what, goal, is: is.text(), met: is.median <= most }
    }

    fn memory(what: String, below: f64, bytes: u64) -> Self {
        let is = mebibytes(bytes);
        Self {
            what,
            goal: format!("below {below:.0} MiB"),
            is: format!("{is:.1} MiB"),
            met: is < below,
        }
    }
}

/// A Markdown table.
pub(super) fn table(goals: &[Goal]) -> String {
    let mut table = String::from("| measure | goal | is | |\n| --- | --- | --- | --- |\n");
    for Goal { what, goal, is, met } in goals {
        let verdict = if *met { "met" } else { "**missed**" };
        // A String takes all that is written to it.
        let _ = writeln!(table, "| {what} | {goal} | {is} | {verdict} |");
    }
    table
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::report::sample;
    use super::*;

    #[test]
    fn a_goal_is_met_or_missed_by_the_median() {
        let of = |proxy, cpu| sample(Case::KeepAlive, proxy, cpu);
        let samples = |ours: [u64; 3]| {
            let ours = ours.map(|cpu| of(ProxyKind::Nodeway, cpu));
            let theirs = [10, 10, 10].map(|cpu| of(ProxyKind::Haproxy, cpu));
            [ours, theirs].concat()
        };
        let goals = super::of(&samples([8, 9, 8]), &[]);
        assert!(goals.len() == 1 && goals[0].met, "{}", goals[0].is);
        assert!(!super::of(&samples([9, 8, 9]), &[])[0].met);
    }

    #[test]
    fn one_better_peer_is_enough_to_miss_a_goal() {
        let mut peer = sample(Case::Rate, ProxyKind::Envoy, 1);
        let ours = sample(Case::Rate, ProxyKind::Nodeway, 1);
        let worse = sample(Case::Rate, ProxyKind::Haproxy, 1);
        assert!(of(&[ours, worse, peer], &[])[0].met);
        peer.measure.p99 = Duration::from_millis(1);
        assert!(!of(&[ours, worse, peer], &[])[0].met);
    }

    #[test]
    fn memory_is_told_in_mebibytes() {
        let memory = Memory { proxy: ProxyKind::Nodeway, idle: 20 << 20, connected: 160 << 20 };
        let goals = of(&[], &[memory]);
        assert_eq!((goals[0].is.as_str(), goals[0].met), ("20.0 MiB", true));
        assert_eq!((goals[1].is.as_str(), goals[1].met), ("160.0 MiB", false));
    }
}
