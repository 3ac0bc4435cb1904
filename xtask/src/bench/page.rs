//! The page and the plot of results, for people and for docs/benchmarks.
//!
//! Not for a figure of its own: see `report` and `goals`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::backends::{GRPC_PATH, SMALL_BODY};
use super::bars::{Bar, Chart, Group};
use super::cases::Case;
use super::figures::{Spread, first_line, machine};
use super::report::{Sample, series};
use super::{Memory, Plan, ProxyKind, goals, report};
use crate::shell;

/// What a run has come to.
pub(super) struct Results<'a> {
    pub(super) plan: &'a Plan,
    pub(super) samples: &'a [Sample],
    pub(super) memory: &'a [Memory],
}

const PLOTTED: [Case; 7] = [
    Case::KeepAlive1,
    Case::KeepAlive,
    Case::Rate,
    Case::H2c,
    Case::Grpc,
    Case::Connect,
    Case::Large,
];
const SERIES: [(ProxyKind, &str); 4] = [
    (ProxyKind::Nodeway, "#0f9d75"),
    (ProxyKind::Haproxy, "#3b82f6"),
    (ProxyKind::Nginx, "#8b8f98"),
    (ProxyKind::Envoy, "#e4572e"),
];

// === impl Results ===

impl Results<'_> {
    /// In Markdown.
    pub(super) fn text(&self, versions: &str) -> String {
        let Plan { rounds, load, cases, proxies, .. } = self.plan;
        let mut text = format!(
            "{}, shared by load generator, backends and proxies.\n{versions}.\n\n\
             Medians of {rounds} rounds of {} s, each of which begins with another proxy. Two workers each, \
             keep-alive to two nginx backends of one worker, the better of two of them for each request, \
             bodies of {SMALL_BODY} B, no access logs. Nodeway has plain listeners; its metrics, balancing \
             and outlier detection are on. HTTP/2 on both sides where clients speak it, but for nginx, which asks \
             backends in HTTP/1.1. gRPC is what clients and proxies see of it: POSTs to `{GRPC_PATH}` with a \
             message of 32 B, `te: trailers`, an answer of one message and trailers, by nginx. In the storm a \
             request's time counts from when it is connected. Ratios are of the same round; compare within one \
             run only.\n",
            machine(),
            load.as_secs(),
        );
        let goals = goals::of(self.samples, self.memory);
        if !goals.is_empty() {
            text += &format!("\n## Goals\n\n{}", goals::table(&goals));
        }
        if !self.samples.is_empty() {
            let table = report::table(self.samples, cases, proxies);
            text += &format!("\n## Loads\n\n{table}");
        }
        if !self.memory.is_empty() {
            let table = report::memory(self.memory);
            text += &format!(
                "\n## Memory\n\nResident, of fresh processes; each connection has had one answer.\n\n{table}"
            );
        }
        text
    }

    pub(super) fn write(&self, versions: &str, folder: &Path) -> Result<()> {
        let page = format!(
            "# Nodeway and other proxies\n\nWritten by `cargo xtask bench --write`.\n\n\
             ![CPU per request, as a multiple of HAProxy's](proxies.svg)\n\n{}",
            self.text(versions)
        );
        std::fs::create_dir_all(folder).context("cannot make a folder for results")?;
        for (name, text) in [("proxies.md", page), ("proxies.svg", self.plot())] {
            let file = folder.join(name);
            std::fs::write(&file, text)
                .with_context(|| format!("cannot write {}", file.display()))?;
            println!("written: {}", file.display());
        }
        Ok(())
    }

    /// Bars are as long as multiples of HAProxy's CPU per request, and say how much it is.
    fn plot(&self) -> String {
        let cpu = |case, kind| {
            let rounds = series(self.samples, case, kind, Sample::cpu_per_request);
            Spread::of(&rounds).map(|spread| spread.median)
        };
        let group = |case: Case| {
            let base = cpu(case, ProxyKind::Haproxy)?;
            let bars = SERIES.iter().enumerate().filter_map(|(series, (kind, _))| {
                let micros = cpu(case, *kind)?;
                Some(Bar { series, length: micros / base, label: format!("{micros:.1} us") })
            });
            Some(Group { name: case.title().to_owned(), bars: bars.collect() })
        };
        let chart = Chart {
            title: "CPU per request: bars are multiples of HAProxy's",
            series: SERIES.map(|(kind, colour)| (kind.name(), colour)).to_vec(),
            groups: PLOTTED.into_iter().filter_map(group).collect(),
        };
        chart.svg()
    }
}

/// Without them the figures mean nothing.
pub(super) fn versions(
    proxies: &[ProxyKind],
    nodeway: Option<&Path>,
    envoy: Option<&Path>,
) -> String {
    let installed = |program: &str| shell::which(program).unwrap_or_else(|| program.into());
    let mut versions = vec![first_line(&installed("nginx"), &["-v"])];
    if proxies.contains(&ProxyKind::Haproxy) {
        // `HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/`
        let line = first_line(&installed("haproxy"), &["-v"]);
        versions.push(line.split_whitespace().take(3).collect::<Vec<_>>().join(" "));
    }
    if let Some(envoy) = envoy {
        // `envoy  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL`, after its path.
        let line = first_line(envoy, &["--version"]);
        let version = line.split('/').rev().nth(3).unwrap_or("?");
        versions.push(format!("Envoy {version}"));
    }
    if let Some(nodeway) = nodeway {
        let mut commit = Command::new("git");
        commit.current_dir(shell::workspace()).args(["describe", "--always", "--dirty"]);
        let commit = shell::output(&mut commit).unwrap_or_default();
        let version = first_line(nodeway, &["--version"]);
        versions.push(format!("{version} (checkout {})", commit.trim()));
    }
    versions.join("; ")
}
