//! The figures, and the goals beside them.

use std::fmt;
use std::time::Duration;

use crate::node::Storm;

/// Resident memory, at most.
const MEMORY: u64 = 250 << 20;

/// Figures in order.
#[derive(Default)]
pub(crate) struct Report {
    lines: Vec<Line>,
}

struct Line {
    what: String,
    figure: String,
    /// What it should be, and whether it is.
    goal: Option<(String, bool)>,
}

/// Durations of the same thing.
#[derive(Default)]
pub(crate) struct Times {
    all: Vec<Duration>,
}

// === impl Times ===

impl Times {
    pub(crate) fn push(&mut self, time: Duration) {
        self.all.push(time);
    }

    /// So many of a hundred took no longer.
    fn quantile(&self, percent: usize) -> Duration {
        let at = (self.all.len() * percent).div_ceil(100).saturating_sub(1);
        self.all.get(at).copied().unwrap_or_default()
    }
}

// === impl Report ===

impl Report {
    pub(crate) fn figure(&mut self, what: &str, figure: Duration) {
        self.line(what, duration(figure), None);
    }

    pub(crate) fn goal(&mut self, what: &str, figure: Duration, goal: Duration) {
        self.line(what, duration(figure), Some((format!("< {}", duration(goal)), figure < goal)));
    }

    pub(crate) fn memory(&mut self, what: &str, octets: u64) {
        let goal = format!("< {}", memory(MEMORY));
        self.line(what, memory(octets), Some((goal, octets < MEMORY)));
    }

    pub(crate) fn memory_of_interest(&mut self, what: &str, octets: u64) {
        self.line(what, memory(octets), None);
    }

    pub(crate) fn times(&mut self, what: &str, times: &mut Times, goal: Duration) {
        times.all.sort_unstable();
        self.figure(&format!("{what} (p50)"), times.quantile(50));
        self.goal(&format!("{what} (p99)"), times.quantile(99), goal);
        self.figure(&format!("{what} (max)"), times.quantile(100));
    }

    pub(crate) fn storm(&mut self, storm: &Storm) {
        let seconds = storm.lasted.as_secs_f64();
        #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
        let a_second = |n: u64| format!("{n} ({:.0}/s)", n as f64 / seconds);
        self.line("storm: changes", a_second(storm.changes), None);
        self.line("storm: snapshots", a_second(storm.snapshots), None);
        let share = storm.cpu.as_secs_f64() / seconds * 100.0;
        self.line("storm: CPU, with the requests", format!("{share:.0} % of a core"), None);
        let failed = format!("{} of {}", storm.failed, a_second(storm.requests));
        self.line("storm: requests that failed", failed, Some(("0".into(), storm.failed == 0)));
        self.goal("storm: a change right after it", storm.caught_up, Duration::from_millis(100));
    }

    fn line(&mut self, what: &str, figure: String, goal: Option<(String, bool)>) {
        eprintln!("    {what}: {figure}");
        self.lines.push(Line { what: what.to_owned(), figure, goal });
    }

    /// Whether a goal is missed.
    pub(crate) fn failed(&self) -> bool {
        self.lines.iter().any(|line| line.goal.as_ref().is_some_and(|(_, held)| !held))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| {} | figure | goal |\n| --- | --- | --- |", crate::cluster::SIZE)?;
        for Line { what, figure, goal } in &self.lines {
            let goal = match goal {
                None => String::new(),
                Some((goal, true)) => goal.clone(),
                Some((goal, false)) => format!("{goal} **missed**"),
            };
            writeln!(f, "| {what} | {figure} | {goal} |")?;
        }
        Ok(())
    }
}

fn duration(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{:.1} ms", time.as_secs_f64() * 1e3)
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

fn memory(octets: u64) -> String {
    format!("{} MiB", octets >> 20)
}
