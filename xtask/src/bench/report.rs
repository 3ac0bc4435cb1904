//! From samples to the table one reads: medians, and the ratio that matters.
//!
//! Not for measuring (see `load`), and not for what the figures should be (see `goals`).

use std::fmt::Write;
use std::time::Duration;

use super::cases::Case;
use super::figures::{Spread, as_f64, micros};
use super::memory::{CONNECTIONS, Memory};
use super::parse::Measure;
use super::proxies::ProxyKind;

/// One load against one proxy in one round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) case: Case,
    pub(super) proxy: ProxyKind,
    pub(super) measure: Measure,
    /// What the proxy used for it.
    pub(super) cpu: Duration,
}

// === impl Sample ===

impl Sample {
    /// In microseconds.
    pub(super) fn cpu_per_request(&self) -> f64 {
        micros(self.cpu) / as_f64(self.measure.requests.max(1))
    }

    /// In milliseconds.
    pub(super) fn p99(&self) -> f64 {
        micros(self.measure.p99) / 1e3
    }

    pub(super) fn progress(&self) -> String {
        format!(
            "{:<8} {:>9.0} req/s {:>8.1} us CPU/request {:>8.2} ms p99{}",
            self.proxy.name(),
            self.measure.per_second,
            self.cpu_per_request(),
            self.p99(),
            match self.measure.failed {
                0 => String::new(),
                failed => format!("  {failed} FAILED"),
            }
        )
    }
}

/// A figure of each round, in the order of rounds.
pub(super) fn series(
    samples: &[Sample],
    case: Case,
    proxy: ProxyKind,
    figure: fn(&Sample) -> f64,
) -> Vec<f64> {
    samples.iter().filter(|s| s.case == case && s.proxy == proxy).map(figure).collect()
}

/// `first`'s CPU per request to `second`'s.
pub(super) fn cpu_ratio(
    samples: &[Sample],
    case: Case,
    first: ProxyKind,
    second: ProxyKind,
) -> Option<Spread> {
    let of = |proxy| series(samples, case, proxy, Sample::cpu_per_request);
    Spread::of_ratios(&of(first), &of(second))
}

/// A Markdown table: medians over the rounds. By size, Nodeway with many Services and routes stands for Nodeway.
pub(super) fn table(samples: &[Sample], cases: &[Case], proxies: &[ProxyKind]) -> String {
    let mut table = String::from(
        "| case | proxy | req/s | p50 ms | p99 ms | CPU us/request | failed | Nodeway's CPU by this one's |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: | --- |\n",
    );
    for case in cases.iter().copied() {
        for proxy in case.proxies(proxies) {
            let median = |figure| {
                let spread = Spread::of(&series(samples, case, proxy, figure));
                spread.map_or(f64::NAN, |spread| spread.median)
            };
            let of = samples.iter().filter(|s| s.case == case && s.proxy == proxy);
            let failures: Vec<u64> = of.map(|sample| sample.measure.failed).collect();
            if failures.is_empty() {
                continue;
            }
            let ours = if case == Case::Size { ProxyKind::Many } else { ProxyKind::Nodeway };
            let ratio = match cpu_ratio(samples, case, ours, proxy) {
                Some(ratio) if proxy != ours => ratio.text(),
                _ => String::new(),
            };
            let cpu = match proxy {
                ProxyKind::Direct => "-".to_owned(),
                _ => format!("{:.1}", median(Sample::cpu_per_request)),
            };
            // A String takes all that is written to it.
            let _ = writeln!(
                table,
                "| {} | {} | {:.0} | {:.2} | {:.2} | {cpu} | {} | {ratio} |",
                case.title(),
                proxy.name(),
                median(|s| s.measure.per_second),
                median(|s| micros(s.measure.p50) / 1e3),
                median(Sample::p99),
                failures.iter().sum::<u64>(),
            );
        }
    }
    table
}

/// Resident memory, as a Markdown table.
pub(super) fn memory(all: &[Memory]) -> String {
    let mut table = format!(
        "| proxy | at idle, MiB | with {CONNECTIONS} idle connections, MiB | for each, KiB |\n\
         | --- | ---: | ---: | ---: |\n"
    );
    for memory in all {
        // A String takes all that is written to it.
        let _ = writeln!(
            table,
            "| {} | {:.1} | {:.1} | {:.1} |",
            memory.proxy.name(),
            mebibytes(memory.idle),
            mebibytes(memory.connected),
            as_f64(memory.each()) / 1024.0
        );
    }
    table
}

pub(super) fn mebibytes(bytes: u64) -> f64 {
    as_f64(bytes >> 10) / 1024.0
}

#[cfg(test)]
pub(super) fn sample(case: Case, proxy: ProxyKind, cpu_micros: u64) -> Sample {
    Sample {
        case,
        proxy,
        measure: Measure {
            requests: 1_000,
            failed: 0,
            per_second: 500.0,
            p50: Duration::from_micros(500),
            p99: Duration::from_millis(2),
        },
        cpu: Duration::from_micros(cpu_micros * 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_units_are_right() {
        let of = |proxy, cpu| sample(Case::KeepAlive, proxy, cpu);
        let (ours, theirs, none) = (ProxyKind::Nodeway, ProxyKind::Haproxy, ProxyKind::Direct);
        let samples = [of(ours, 9), of(theirs, 18), of(none, 0)];
        let table = table(&samples, &[Case::KeepAlive], &[ours, theirs, none]);
        assert!(table.contains("| nodeway | 500 | 0.50 | 2.00 | 9.0 | 0 |  |"), "{table}");
        let theirs = "| haproxy | 500 | 0.50 | 2.00 | 18.0 | 0 | 0.50 (0.50 to 0.50) |";
        assert!(table.contains(theirs), "{table}");
        assert!(table.contains("| direct | 500 | 0.50 | 2.00 | - | 0 |  |"), "{table}");
    }

    #[test]
    fn sizes_are_compared_with_each_other() {
        let of = |proxy, cpu| sample(Case::Size, proxy, cpu);
        let samples = [of(ProxyKind::Few, 20), of(ProxyKind::Many, 21)];
        let table = table(&samples, &[Case::Size], &[ProxyKind::Nodeway]);
        assert!(table.contains("5 000 routes | 500 | 0.50 | 2.00 | 21.0 | 0 |  |"), "{table}");
        assert!(table.contains("10 routes | 500 | 0.50 | 2.00 | 20.0 | 0 | 1.05 (1.05"), "{table}");
    }
}
