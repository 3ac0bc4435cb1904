//! From samples to the table one reads: medians, and the ratio that matters.
//!
//! Not for measuring: see `load`.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::cases::Case;
use super::load::Measure;
use super::proxies::ProxyKind;
use crate::shell;

/// One load against one proxy in one round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) case: Case,
    pub(super) proxy: ProxyKind,
    pub(super) measure: Measure,
    /// What the proxy used for it.
    pub(super) cpu: Duration,
    /// Resident bytes at its end.
    pub(super) rss: u64,
}

impl Sample {
    fn cpu_per_request(&self) -> f64 {
        micros(self.cpu) / as_f64(self.measure.requests.max(1))
    }

    pub(super) fn progress(&self) -> String {
        format!(
            "{:<8} {:>9.0} req/s {:>8.1} us CPU/request {:>8.2} ms p99{}",
            self.proxy.name(),
            self.measure.per_second,
            self.cpu_per_request(),
            micros(self.measure.p99) / 1e3,
            match self.measure.failed {
                0 => String::new(),
                failed => format!("  {failed} FAILED"),
            }
        )
    }
}

/// A Markdown table: medians over the rounds. The ratio is taken round by round, then its median:
/// what slows the machine for a while slows both.
pub(super) fn table(samples: &[Sample], cases: &[Case], proxies: &[ProxyKind]) -> String {
    let mut table = String::from(
        "| case | proxy | req/s | p50 ms | p99 ms | CPU us/req | RSS MiB | failed | CPU vs HAProxy |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n",
    );
    for case in cases {
        for proxy in proxies {
            let of: Vec<&Sample> =
                samples.iter().filter(|s| s.case == *case && s.proxy == *proxy).collect();
            let Some(last) = of.last() else { continue };
            let median_of =
                |value: fn(&Sample) -> f64| median(of.iter().map(|sample| value(sample)).collect());
            let own = |text: String| if *proxy == ProxyKind::Direct { "-".into() } else { text };
            // A String takes all that is written to it.
            let _ = writeln!(
                table,
                "| {} | {} | {:.0} | {:.2} | {:.2} | {} | {} | {} | {} |",
                case.title(),
                proxy.name(),
                median_of(|s| s.measure.per_second),
                median_of(|s| micros(s.measure.p50) / 1e3),
                median_of(|s| micros(s.measure.p99) / 1e3),
                own(format!("{:.1}", median_of(Sample::cpu_per_request))),
                own(format!("{:.0}", as_f64(last.rss >> 10) / 1024.0)),
                of.iter().map(|sample| sample.measure.failed).sum::<u64>(),
                if *proxy == ProxyKind::Nodeway { ratio(samples, *case) } else { "-".into() },
            );
        }
    }
    table
}

/// `0.82 (0.79 to 0.85)`: the median over rounds, the least and the most.
fn ratio(samples: &[Sample], case: Case) -> String {
    let of = |proxy| {
        samples
            .iter()
            .filter(move |s| s.case == case && s.proxy == proxy)
            .map(Sample::cpu_per_request)
    };
    // Samples stand in the order of rounds, so the n-th of each is of one round.
    let ratios: Vec<f64> = of(ProxyKind::Nodeway)
        .zip(of(ProxyKind::Haproxy))
        .filter(|(_, theirs)| *theirs > 0.0)
        .map(|(ours, theirs)| ours / theirs)
        .collect();
    if ratios.is_empty() {
        return "-".into();
    }
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(0.0, f64::max);
    format!("{:.2} ({least:.2} to {most:.2})", median(ratios))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        even if even % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

#[expect(clippy::cast_precision_loss, reason = "counts here stay far below 2^52")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

/// Machine and versions: without them the figures mean nothing.
pub(super) fn conditions(
    rounds: u32,
    load: Duration,
    proxies: &[ProxyKind],
    nodeway: Option<&Path>,
) -> String {
    let first_line = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(shell::which(program).unwrap_or_else(|| program.into()));
        // nginx and wrk say theirs on stderr or with a failure.
        let output = command.args(arguments).output();
        let output = output.map(|o| [o.stdout, o.stderr].concat()).unwrap_or_default();
        String::from_utf8_lossy(&output).lines().next().unwrap_or("?").trim().to_owned()
    };
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("?");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mut versions = vec![first_line("nginx", &["-v"])];
    if proxies.contains(&ProxyKind::Haproxy) {
        versions.push(first_line("haproxy", &["-v"]));
    }
    if let Some(nodeway) = nodeway {
        let mut commit = Command::new("git");
        commit.current_dir(shell::workspace()).args(["describe", "--always", "--dirty"]);
        let commit = shell::output(&mut commit).unwrap_or_default();
        let version = first_line(&nodeway.to_string_lossy(), &["--version"]);
        versions.push(format!("{version} (checkout {})", commit.trim()));
    }
    format!(
        "{} x {}, Linux {}, shared by load generator, backends and proxies.\n{}.\n\
         Median of {rounds} rotated rounds of {} s. Two workers each, keep-alive to two nginx \
         backends of one worker, small bodies of 128 B, no access logs; HTTP/2 on both sides in the \
         h2c case. Compare within one run only.",
        cores,
        model.trim_start_matches(['\t', ' ', ':']),
        first_line("uname", &["-r"]),
        versions.join("; "),
        load.as_secs(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(proxy: ProxyKind, cpu_micros: u64) -> Sample {
        Sample {
            case: Case::KeepAlive,
            proxy,
            measure: Measure {
                requests: 1_000,
                failed: 0,
                per_second: 500.0,
                p50: Duration::from_micros(500),
                p99: Duration::from_millis(2),
            },
            cpu: Duration::from_micros(cpu_micros * 1_000),
            rss: 17 << 20,
        }
    }

    #[test]
    fn the_ratio_is_taken_round_by_round() {
        // The machine was twice as slow in the second round, for both.
        let samples = [
            sample(ProxyKind::Nodeway, 8),
            sample(ProxyKind::Haproxy, 10),
            sample(ProxyKind::Haproxy, 20),
            sample(ProxyKind::Nodeway, 18),
            sample(ProxyKind::Nodeway, 7),
            sample(ProxyKind::Haproxy, 10),
        ];
        assert_eq!(ratio(&samples, Case::KeepAlive), "0.80 (0.70 to 0.90)");
        assert_eq!(ratio(&samples, Case::Rate), "-");
    }

    #[test]
    fn medians_and_units_are_right() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(vec![4.0, 1.0]) - 2.5).abs() < f64::EPSILON);
        let samples = [sample(ProxyKind::Haproxy, 18), sample(ProxyKind::Direct, 0)];
        let table = table(&samples, &[Case::KeepAlive], &[ProxyKind::Haproxy, ProxyKind::Direct]);
        assert!(table.contains("| haproxy | 500 | 0.50 | 2.00 | 18.0 | 17 | 0 | - |"), "{table}");
        assert!(table.contains("| direct | 500 | 0.50 | 2.00 | - | - | 0 | - |"), "{table}");
    }
}
