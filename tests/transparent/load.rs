//! What a client asks for, and what came of it.

use std::fs;
use std::time::Duration;

use crate::figures::{as_f64, micros};
use crate::parse::{self, Measure};
use crate::scenes::Scene;
use crate::way::Way;
use crate::{cpu, scenes};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// One connection, one request after the other.
    One,
    /// 2 000 requests a second on 16 connections.
    Rate,
    /// 64 connections, as fast as they go.
    Many,
    /// Each request on a connection of its own, 16 at a time.
    Connections,
}

/// One load, by one way, in one round.
pub(crate) struct Sample {
    pub(crate) load: Load,
    pub(crate) way: Way,
    pub(crate) measure: Measure,
    /// What is between the pods has used.
    pub(crate) proxies: Duration,
    /// Everybody on this machine has used.
    pub(crate) machine: Duration,
}

// === impl Load ===

impl Load {
    pub(crate) const ALL: [Self; 4] = [Self::One, Self::Rate, Self::Many, Self::Connections];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::One => "one connection",
            Self::Rate => "2 000 requests/s, 16 connections",
            Self::Many => "64 connections",
            Self::Connections => "a connection for each request, 16 at a time",
        }
    }

    pub(crate) fn run(self, scene: &Scene, seconds: u32) -> Sample {
        let log = scene.scratch.join("h2load.tsv");
        // h2load adds to an old one.
        fs::remove_file(&log).ok();
        let (url, lasts) = (format!("http://{}/", scene.dials), format!("-d{seconds}s"));
        let wrk = ["--latency", "--timeout", "5s", "-t1", &lasts];
        let place = &scene.client.place;
        let before = (scene.cpu(), cpu::of_machine());
        let text = match self {
            Self::One => place.ok("wrk", &[&wrk[..], &["-c1", &url]].concat()),
            Self::Many => place.ok("wrk", &[&wrk[..], &["-c64", &url]].concat()),
            Self::Connections => {
                let close = ["-c16", "--header", "Connection: close", &url];
                place.ok("wrk", &[&wrk[..], &close].concat())
            }
            Self::Rate => {
                let (seconds, log) = (seconds.to_string(), format!("--log-file={}", log.display()));
                let rate = ["--h1", "-t1", "-c16", "--rps", "125", "-D", &seconds, &log, &url];
                place.ok("h2load", &rate)
            }
        };
        let (proxies, machine) = (scene.cpu() - before.0, cpu::of_machine() - before.1);
        let measure = match self {
            Self::Rate => parse::h2load(&text, &fs::read_to_string(&log).unwrap_or_default()),
            _ => parse::wrk(&text),
        };
        let measure = measure.unwrap_or_else(|| panic!("the load said something new:\n{text}"));
        assert!(
            measure.requests > measure.failed,
            "not one answer: {}\n{text}",
            scenes::said(scene)
        );
        Sample { load: self, way: scene.way, measure, proxies, machine }
    }
}

// === impl Sample ===

impl Sample {
    /// In microseconds.
    pub(crate) fn p50(&self) -> f64 {
        micros(self.measure.p50)
    }

    /// In microseconds.
    pub(crate) fn p99(&self) -> f64 {
        micros(self.measure.p99)
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.measure.per_second
    }

    /// In microseconds a request.
    pub(crate) fn proxies(&self) -> f64 {
        micros(self.proxies) / as_f64(self.measure.requests.max(1))
    }

    /// In microseconds a request.
    pub(crate) fn machine(&self) -> f64 {
        micros(self.machine) / as_f64(self.measure.requests.max(1))
    }

    pub(crate) fn progress(&self) -> String {
        format!(
            "{:<28} {:>8.0} req/s {:>8.0} us p50 {:>8.0} us p99 {:>6.1} us of proxies {:>6.1} us of the machine{}",
            self.way.title(),
            self.per_second(),
            self.p50(),
            self.p99(),
            self.proxies(),
            self.machine(),
            match self.measure.failed {
                0 => String::new(),
                failed => format!("  {failed} FAILED"),
            }
        )
    }
}
