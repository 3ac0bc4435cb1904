//! `bench`: Nodeway and HAProxy side by side on this machine, on the same backends.
//!
//! A first look at speed, not a laboratory: everything shares this machine's cores. CPU per request
//! is the figure to trust, and only within one run: the rounds alternate which proxy goes first.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::build::{self, Profile};
use crate::packages;
use crate::shell::{self, Step};

mod backends;
mod balance;
mod cases;
mod load;
mod parse;
mod process;
mod proxies;
mod report;
mod scale;

use cases::Case;
use load::Measure;
use proxies::{Proxy, ProxyKind};
use report::Sample;

/// Measure Nodeway and HAProxy in rotated rounds: throughput, latency, CPU per request, memory.
///
/// Needs a quiet machine: the load generator, two nginx backends and the proxies share its cores.
/// Compare figures of one run only, never across runs.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    instead: Option<Instead>,
    /// Instead: a node of a cluster with 10 000 Services, 100 000 endpoints and 5 000 routes. How soon
    /// it is ready, its memory, how soon a change is in force, what a storm of changes costs. A minute.
    #[arg(long, conflicts_with_all = ["quick", "rounds", "seconds", "only", "proxies", "write"])]
    scale: bool,
    /// A look in under three minutes (after building): 2 rounds of 2 seconds.
    #[arg(long)]
    quick: bool,
    /// How often each case is run against each proxy [default: 5].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=50))]
    rounds: Option<u32>,
    /// How long one load lasts [default: 5].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: Option<u32>,
    /// Only this case; may be repeated.
    #[arg(long, value_enum, value_name = "CASE")]
    only: Vec<Case>,
    /// Only these; may be repeated. `direct` is the backends with no proxy at all [default: nodeway
    /// and haproxy].
    #[arg(long = "proxy", value_enum, value_name = "PROXY")]
    proxies: Vec<ProxyKind>,
    /// A `nodeway` built before, instead of building one now.
    #[arg(long, value_name = "FILE")]
    nodeway: Option<PathBuf>,
    /// Also write the table to docs/bench.md.
    #[arg(long)]
    write: bool,
}

/// Other benches.
#[derive(clap::Subcommand)]
enum Instead {
    /// How long requests take under each balancing algorithm, when one of ten servers is slow.
    Balance(balance::Args),
}

struct Plan {
    rounds: u32,
    load: Duration,
    cases: Vec<Case>,
    proxies: Vec<ProxyKind>,
}

impl Plan {
    fn new(args: &Args) -> Self {
        let (rounds, seconds) = if args.quick { (2, 2) } else { (5, 5) };
        let or_all = |chosen: &[Case]| match chosen {
            [] => Case::value_variants().to_vec(),
            chosen => chosen.to_vec(),
        };
        let proxies = match args.proxies.as_slice() {
            [] => vec![ProxyKind::Nodeway, ProxyKind::Haproxy],
            chosen => chosen.to_vec(),
        };
        Self {
            rounds: args.rounds.unwrap_or(rounds),
            load: Duration::from_secs(args.seconds.unwrap_or(seconds).into()),
            cases: or_all(&args.only),
            proxies,
        }
    }

    /// Each round begins with another proxy: what warms up or heats up then hits all alike.
    fn order(&self, round: u32) -> Vec<ProxyKind> {
        let mut order = self.proxies.clone();
        let length = order.len().max(1);
        order.rotate_left(round as usize % length);
        order
    }
}

pub(crate) fn main(args: &Args) -> Result<ExitCode> {
    if let Some(Instead::Balance(balance)) = &args.instead {
        return balance::run(balance);
    }
    if args.scale {
        return scale::run(args.nodeway.as_deref());
    }
    let plan = Plan::new(args);
    packages::ensure(
        &[packages::HAPROXY, packages::NGINX, packages::WRK, packages::H2LOAD, packages::CURL],
        "the bench",
    )?;
    let nodeway = match &args.nodeway {
        _ if !plan.proxies.contains(&ProxyKind::Nodeway) => None,
        Some(given) => {
            Some(given.canonicalize().with_context(|| format!("there is no {}", given.display()))?)
        }
        None => Some(build::nodeway(Profile::Release)?),
    };
    let folder = process::Folder::make()?;
    let step = Step::start("Starting two nginx backends and the proxies");
    let backends = backends::start(folder.path())?;
    let mut proxies = Vec::new();
    for kind in &plan.proxies {
        proxies.push(Proxy::start(*kind, folder.path(), &backends, nodeway.as_deref())?);
    }
    step.done();

    let samples = measure(&plan, &mut proxies, folder.path())?;
    let table = report::table(&samples, &plan.cases, &plan.proxies);
    let conditions = report::conditions(plan.rounds, plan.load, &plan.proxies, nodeway.as_deref());
    println!("\n{conditions}\n\n{table}");
    if args.write {
        let file = shell::workspace().join("docs/bench.md");
        let text = format!(
            "# Bench\n\nWritten by `cargo xtask bench --write`.\n\n{conditions}\n\n{table}"
        );
        std::fs::create_dir_all(shell::workspace().join("docs"))
            .and_then(|()| std::fs::write(&file, text))
            .with_context(|| format!("cannot write {}", file.display()))?;
        println!("written: {}", file.display());
    }
    let failed: u64 = samples.iter().map(|sample| sample.measure.failed).sum();
    if failed > 0 {
        eprintln!("error: {failed} requests failed: these figures are no basis for a comparison");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(plan: &Plan, proxies: &mut [Proxy], folder: &std::path::Path) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for case in &plan.cases {
        let step = Step::start(format!("{}, {} rounds", case.title(), plan.rounds));
        for proxy in proxies.iter_mut() {
            // Pools filled, pages touched.
            load::run(*case, proxy, Duration::from_secs(1), folder)
                .with_context(|| format!("warming up {} for: {}", proxy.name(), case.title()))?;
        }
        for round in 0..plan.rounds {
            for kind in plan.order(round) {
                let Some(proxy) = proxies.iter_mut().find(|proxy| proxy.kind() == kind) else {
                    bail!("{kind:?} was never started");
                };
                let sample = one(*case, proxy, plan.load, folder)
                    .with_context(|| format!("{} in: {}", proxy.name(), case.title()))?;
                eprintln!("    {}", sample.progress());
                samples.push(sample);
            }
        }
        step.done();
    }
    Ok(samples)
}

fn one(case: Case, proxy: &mut Proxy, load: Duration, folder: &std::path::Path) -> Result<Sample> {
    let before = proxy.cpu()?;
    let measure: Measure = load::run(case, proxy, load, folder)?;
    let spent = proxy.cpu()?.saturating_sub(before);
    Ok(Sample { case, proxy: proxy.kind(), measure, cpu: spent, rss: proxy.rss()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_begins_with_another_proxy() {
        let plan = Plan {
            rounds: 2,
            load: Duration::from_secs(1),
            cases: vec![],
            proxies: vec![ProxyKind::Nodeway, ProxyKind::Haproxy],
        };
        assert_eq!(plan.order(0), [ProxyKind::Nodeway, ProxyKind::Haproxy]);
        assert_eq!(plan.order(1), [ProxyKind::Haproxy, ProxyKind::Nodeway]);
        assert_eq!(plan.order(2), plan.order(0));
    }
}
