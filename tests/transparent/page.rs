//! The page of results and the plot, for people and for docs/benchmarks.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use nodeway_tests::binaries;

use crate::bars::{Bar, Chart, Group};
use crate::figures::{Spread, first_line, machine};
use crate::load::{Load, Sample};
use crate::sidecars;
use crate::way::Way;

/// See the module.
pub(crate) struct Page<'a> {
    pub(crate) rounds: u32,
    pub(crate) seconds: u32,
    pub(crate) samples: &'a [Sample],
    /// Whether Nodeway, left alone, has payload skip the loopback stack here.
    pub(crate) accelerates: Option<bool>,
}

/// What Nodeway may add to p50 of what a pair of sidecars adds.
const ADDED: f64 = 0.5;
/// What is left of requests and of connections a second where the kernel balances.
const L4_REQUESTS: f64 = 0.98;
const L4_CONNECTIONS: f64 = 0.95;
/// CPU per request with acceleration to that without.
const ACCELERATED: f64 = 0.85;
/// Microseconds a request: who uses more relays.
const RELAYS: f64 = 2.0;

const SERIES: [(Way, &str); 5] = [
    (Way::Pod, "#8b8f98"),
    (Way::ServiceAddress, "#c77dff"),
    (Way::L4, "#3b82f6"),
    (Way::L7, "#0f9d75"),
    (Way::Sidecars, "#e4572e"),
];

// === impl Page ===

impl Page<'_> {
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "{}, shared by client, server and all between them.\n{}.\n\n\
             Medians of {} rounds of {} s, each of which begins with another way. Pods are network namespaces on \
             one bridge; wrk or h2load in one of them asks an nginx of one process in the other for 128 B over \
             HTTP/1.1. Each way has pods and a cgroup of its own, so Nodeway's programs are where Nodeway is \
             alone. DNAT by iptables stands for kube-proxy. Sidecars are two Envoys of two workers, into which \
             iptables lead connections as Istio's do, plain HTTP between them, with its filters for HTTP (fault, \
             CORS, router) and without its telemetry, inspectors, and access log. Ratios are of the same round; \
             compare within one run only.\n",
            machine(),
            versions(),
            self.rounds,
            self.seconds,
        );
        self.goals(&mut text);
        self.figures(&mut text);
        text
    }

    pub(crate) fn write(&self, folder: &Path) {
        let page = format!(
            "# From pod to pod\n\nWritten by `cargo xtask bench transparent --write`.\n\n\
             ![Time by each way, as a multiple of that with nothing in between](transparent.svg)\n\n{}",
            self.text()
        );
        fs::create_dir_all(folder).expect("a folder for results");
        for (name, text) in [("transparent.md", page), ("transparent.svg", self.plot())] {
            let file = folder.join(name);
            fs::write(&file, text).expect("a file of results");
            println!("written: {}", file.display());
        }
    }

    fn series(&self, load: Load, way: Way, figure: fn(&Sample) -> f64) -> Vec<f64> {
        let of = self.samples.iter().filter(|sample| sample.load == load && sample.way == way);
        of.map(figure).collect()
    }

    fn median(&self, load: Load, way: Way, figure: fn(&Sample) -> f64) -> Option<f64> {
        Spread::of(&self.series(load, way, figure)).map(|spread| spread.median)
    }

    fn ways(&self) -> Vec<Way> {
        let mut ways: Vec<Way> = vec![];
        for sample in self.samples {
            if !ways.contains(&sample.way) {
                ways.push(sample.way);
            }
        }
        ways
    }

    fn goals(&self, text: &mut String) {
        text.push_str("\n## Goals\n\n| measure | goal | is | |\n| --- | --- | --- | --- |\n");
        let mut row = |what: &str, goal: String, is: Option<Spread>, met: &dyn Fn(f64) -> bool| {
            let Some(is) = is else { return };
            let verdict = if met(is.median) { "met" } else { "**missed**" };
            writeln!(text, "| {what} | {goal} | {} | {verdict} |", is.text()).unwrap();
        };
        for load in [Load::One, Load::Rate] {
            row(
                &format!("L7, {}: p50 over direct", load.title()),
                format!("at most {ADDED} x what the sidecars add"),
                self.added(load),
                &|is| is <= ADDED,
            );
        }
        for (load, what, least) in [
            (Load::Many, "requests a second", L4_REQUESTS),
            (Load::Connections, "connections a second", L4_CONNECTIONS),
        ] {
            let of = |way| self.series(load, way, Sample::per_second);
            row(
                &format!("l4: {what}"),
                format!("at least {least} x direct"),
                Spread::of_ratios(&of(Way::L4), &of(Way::Pod)),
                &|is| is >= least,
            );
        }
        let of = |way| self.series(Load::Many, way, Sample::proxies);
        let off = self.accelerates == Some(false);
        let default = if off { "off by default" } else { "on by default" };
        row(
            &format!("accelerated ({default}): the proxy's CPU per request"),
            format!("at most {ACCELERATED} x that without, or off"),
            Spread::of_ratios(&of(Way::Accelerated), &of(Way::Plain)),
            &|is| off || is <= ACCELERATED,
        );
        let relays = self.median(Load::Many, Way::L4, Sample::proxies);
        if relays.is_some_and(|micros| micros > RELAYS) {
            text.push_str("\n**The kernel did not balance here: the opaque port was relayed by the proxy.**\n");
        }
    }

    /// What L7 adds to the p50 of the pod's own address, to what sidecars add.
    fn added(&self, load: Load) -> Option<Spread> {
        let direct = self.series(load, Way::Pod, Sample::p50);
        let over = |way| -> Vec<f64> {
            let rounds = self.series(load, way, Sample::p50);
            rounds.iter().zip(&direct).map(|(p50, direct)| p50 - direct).collect()
        };
        Spread::of_ratios(&over(Way::L7), &over(Way::Sidecars))
    }

    fn figures(&self, text: &mut String) {
        let ways = self.ways();
        for (load, title) in [
            (Load::One, "One connection, one request after the other"),
            (Load::Rate, "2 000 requests a second on 16 connections"),
            (Load::Many, "64 connections, as fast as they go"),
            (Load::Connections, "A connection for each request, 16 at a time"),
        ] {
            writeln!(
                text,
                "\n## {title}\n\n| way | requests/s | to direct | p50 us | p99 us | p50 over direct, us | proxies' \
                 CPU us/request | machine's CPU us/request |\n\
                 | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |"
            )
            .unwrap();
            let direct = self.series(load, Way::Pod, Sample::per_second);
            let direct_p50 = self.median(load, Way::Pod, Sample::p50).unwrap_or_default();
            for way in &ways {
                let median = |figure| self.median(load, *way, figure).unwrap_or(f64::NAN);
                let rate = self.series(load, *way, Sample::per_second);
                let ratio = Spread::of_ratios(&rate, &direct).map(|ratio| ratio.text());
                writeln!(
                    text,
                    "| {} | {:.0} | {} | {:.0} | {:.0} | {:.0} | {:.1} | {:.1} |",
                    way.title(),
                    median(Sample::per_second),
                    ratio.filter(|_| *way != Way::Pod).unwrap_or_default(),
                    median(Sample::p50),
                    median(Sample::p99),
                    median(Sample::p50) - direct_p50,
                    median(Sample::proxies),
                    median(Sample::machine),
                )
                .unwrap();
            }
        }
    }

    /// Shorter is better in all of it.
    fn plot(&self) -> String {
        let group = |load: Load, name: &str, time: fn(&Sample) -> f64| {
            let direct = self.median(load, Way::Pod, time)?;
            let bars = SERIES.iter().enumerate().filter_map(|(series, (way, _))| {
                let micros = self.median(load, *way, time)?;
                let times = micros / direct;
                Some(Bar { series, length: times, label: format!("{micros:.0} us ({times:.2} x)") })
            });
            Some(Group { name: name.to_owned(), bars: bars.collect() })
        };
        let each = |sample: &Sample| 1e6 / sample.per_second();
        let groups = [
            group(Load::One, "one connection: p50", Sample::p50),
            group(Load::Rate, "2 000/s: p50", Sample::p50),
            group(Load::Rate, "2 000/s: p99", Sample::p99),
            group(Load::Many, "64 connections: time by request", each),
            group(Load::Connections, "time by new connection", each),
        ];
        let chart = Chart {
            title: "From pod to pod: bars are multiples of the pod's own address, shorter is better",
            series: SERIES.map(|(way, colour)| (way.title(), colour)).to_vec(),
            groups: groups.into_iter().flatten().collect(),
        };
        chart.svg()
    }
}

fn versions() -> String {
    let mut versions = vec![
        first_line(&binaries::nodeway(), &["--version"]),
        first_line(Path::new("nginx"), &["-v"]),
        first_line(Path::new("iptables"), &["--version"]),
    ];
    if let Some(envoy) = std::env::var_os(sidecars::BINARY) {
        // `envoy  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL`, after its path.
        let line = first_line(Path::new(&envoy), &["--version"]);
        versions.push(format!("Envoy {}", line.split('/').rev().nth(3).unwrap_or("?")));
    }
    versions.join("; ")
}
