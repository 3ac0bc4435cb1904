//! Arithmetic of figures for people: medians, ratios round by round, and what they were measured on.
//!
//! Not for one bench alone: that of the transparent path takes this file too.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The median over rounds, the least and the most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

// === impl Spread ===

impl Spread {
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted: Vec<f64> =
            values.iter().copied().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        } else {
            sorted[middle]
        };
        Some(Self { median, least, most })
    }

    /// Of ratios that are taken round by round: what slows the machine for a while slows both.
    pub(crate) fn of_ratios(ours: &[f64], theirs: &[f64]) -> Option<Self> {
        let pairs = ours.iter().zip(theirs).filter(|(_, theirs)| **theirs > 0.0);
        Self::of(&pairs.map(|(ours, theirs)| ours / theirs).collect::<Vec<_>>())
    }

    /// `0.82 (0.79 to 0.85)`
    pub(crate) fn text(&self) -> String {
        format!("{:.2} ({:.2} to {:.2})", self.median, self.least, self.most)
    }
}

pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

#[expect(clippy::cast_precision_loss, reason = "counts here stay far below 2^52")]
pub(crate) fn as_f64(count: u64) -> f64 {
    count as f64
}

/// `2 x AMD EPYC, Linux 6.1.0`
pub(crate) fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("?");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{cores} x {}, Linux {}",
        model.trim_start_matches(['\t', ' ', ':']),
        first_line(Path::new("uname"), &["-r"])
    )
}

/// What a program says of itself, wherever it says it.
pub(crate) fn first_line(program: &Path, arguments: &[&str]) -> String {
    // nginx and wrk say theirs on stderr or with a failure.
    let output = Command::new(program).args(arguments).output();
    let output = output.map(|o| [o.stdout, o.stderr].concat()).unwrap_or_default();
    let text = String::from_utf8_lossy(&output);
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("?").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_right() {
        let median = |values: &[f64]| Spread::of(values).map(|spread| spread.median);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn the_ratio_is_taken_round_by_round() {
        // The machine was twice as slow in the second round, for both.
        let ratio = Spread::of_ratios(&[8.0, 18.0, 7.0], &[10.0, 20.0, 10.0]);
        assert_eq!(ratio.map(|ratio| ratio.text()).as_deref(), Some("0.80 (0.70 to 0.90)"));
        assert_eq!(Spread::of_ratios(&[1.0], &[0.0]), None);
    }
}
