//! `bench`: Nodeway side by side with HAProxy, nginx and Envoy on this machine, on the same backends.
//!
//! A look at speed, not a laboratory: everything shares this machine's cores. CPU per request
//! is the figure to trust, and only within one run: each round begins with another proxy.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::shell::{self, Step};
use crate::{packages, pgo};

mod backends;
mod balance;
mod bars;
mod cases;
mod figures;
mod goals;
mod load;
mod memory;
mod nginx;
mod page;
mod parse;
mod process;
mod proxies;
mod repeats;
mod report;
mod scale;
mod training;
mod transparent;

use cases::Case;
use memory::Memory;
use proxies::{Proxy, ProxyKind, Stage};
use repeats::Repeats;
use report::Sample;
use transparent::Extent;

pub(crate) use training::train;

/// Measure Nodeway, HAProxy, nginx and Envoy in rotated rounds: throughput, latency, CPU per request, memory.
///
/// Needs a quiet machine: the load generator, two nginx backends and the proxies share its cores.
/// Compare figures of one run only, never across runs. All of it takes some 40 minutes; where neither cases nor
/// proxies are chosen, `bench transparent` is a part of it.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    instead: Option<Instead>,
    /// Instead: a node of a cluster with 10 000 Services, 100 000 endpoints and 5 000 routes. How soon
    /// it is ready, its memory, how soon a change is in force, what a storm of changes costs. A minute.
    #[arg(long, conflicts_with_all = ["quick", "rounds", "seconds", "only", "proxies", "write"])]
    scale: bool,
    /// A look in under three minutes (after building): 2 rounds of a second.
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    repeats: Repeats,
    /// Only this case; may be repeated.
    #[arg(long, value_enum, value_name = "CASE")]
    only: Vec<Case>,
    /// Only these; may be repeated. `direct` is the backends with no proxy at all [default: all, without
    /// `direct` in a quick run].
    #[arg(long = "proxy", value_enum, value_name = "PROXY")]
    proxies: Vec<ProxyKind>,
    /// A `nodeway` built before, instead of building one now.
    #[arg(long, value_name = "FILE")]
    nodeway: Option<PathBuf>,
    /// Also write the tables and plots to docs/benchmarks: of all, not of a choice.
    #[arg(long, conflicts_with_all = ["only", "proxies"])]
    write: bool,
}

/// Other benches.
#[derive(clap::Subcommand)]
enum Instead {
    /// How long requests take under each balancing algorithm, when one of ten servers is slow.
    Balance(balance::Args),
    /// From pod to pod through a Service's address: direct, kube-proxy's way, Nodeway, sidecars.
    Transparent(transparent::Args),
}

struct Plan {
    quick: bool,
    rounds: u32,
    load: Duration,
    cases: Vec<Case>,
    proxies: Vec<ProxyKind>,
}

impl Plan {
    fn new(args: &Args) -> Self {
        let (rounds, seconds) = args.repeats.or_default(args.quick);
        let or_all = |chosen: &[Case]| match chosen {
            [] => Case::value_variants().to_vec(),
            chosen => chosen.to_vec(),
        };
        let mut proxies = match args.proxies.as_slice() {
            [] => ProxyKind::value_variants().to_vec(),
            chosen => chosen.to_vec(),
        };
        if args.quick && args.proxies.is_empty() {
            proxies.retain(|kind| *kind != ProxyKind::Direct);
        }
        Self {
            quick: args.quick,
            rounds,
            load: Duration::from_secs(seconds.into()),
            cases: or_all(&args.only),
            proxies,
        }
    }

    /// Each round begins with another proxy: what warms up or heats up then hits all alike.
    fn order(&self, case: Case, round: u32) -> Vec<ProxyKind> {
        let mut order = case.proxies(&self.proxies);
        let length = order.len().max(1);
        order.rotate_left(round as usize % length);
        order
    }
}

pub(crate) fn main(args: &Args) -> Result<ExitCode> {
    match &args.instead {
        Some(Instead::Balance(balance)) => return balance::run(balance),
        Some(Instead::Transparent(transparent)) => return transparent::main(transparent),
        None if args.scale => return scale::run(args.nodeway.as_deref()),
        None => {}
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
        None => Some(shipped(args.quick)?),
    };
    let whole = args.only.is_empty() && args.proxies.is_empty();
    if whole {
        transparent::prepare()?;
    }
    let envoy = plan.proxies.contains(&ProxyKind::Envoy);
    let envoy = envoy.then(proxies::envoy::binary).transpose()?;
    process::allow_many_files()?;
    let folder = process::Folder::make()?;
    let step = Step::start("Starting two nginx backends");
    let backends = backends::start(folder.path())?;
    step.done();
    let (nodeway, envoy) = (nodeway.as_deref(), envoy.as_deref());
    let stage = Stage { folder: folder.path(), backends: &backends, nodeway, envoy };

    // First, while nobody has a pool or a history.
    let memory = match plan.cases.contains(&Case::Memory) {
        true => memory::measure(&plan.proxies, &stage)?,
        false => vec![],
    };
    let samples = measure(&plan, &stage)?;
    let versions = page::versions(&plan.proxies, nodeway, envoy);
    let results = page::Results { plan: &plan, samples: &samples, memory: &memory };
    println!("\n{}", results.text(&versions));
    if args.write {
        results.write(&versions, &shell::workspace().join("docs/benchmarks"))?;
    }
    let failed: u64 = samples.iter().map(|sample| sample.measure.failed).sum();
    if failed > 0 {
        eprintln!("error: {failed} requests failed: these figures are no basis for a comparison");
        return Ok(ExitCode::FAILURE);
    }
    // What ran until here is to be gone: it would be in the way.
    drop((backends, folder));
    match nodeway {
        Some(nodeway) if whole => {
            let Plan { quick, rounds, load, .. } = plan;
            let extent = Extent { quick, rounds, seconds: load.as_secs(), write: args.write };
            transparent::run(&extent, nodeway)
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// What people install; a quick look takes nearly that, if it is there, and waits for nothing long.
fn shipped(quick: bool) -> Result<PathBuf> {
    if quick { pgo::nodeway_by_what_is_there() } else { pgo::nodeway() }
}

fn measure(plan: &Plan, stage: &Stage<'_>) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    let mut proxies: Vec<Proxy> = Vec::new();
    for case in plan.cases.iter().copied().filter(|case| case.is_load()) {
        let step = Step::start(format!("{}, {} rounds", case.title(), plan.rounds));
        for kind in case.proxies(&plan.proxies) {
            if !proxies.iter().any(|proxy| proxy.kind() == kind) {
                proxies.push(Proxy::start(kind, stage)?);
            } else if plan.quick {
                continue;
            }
            // Pools filled, pages touched; in a quick run once is enough.
            let proxy = running(&mut proxies, kind)?;
            load::run(case, proxy, Duration::from_secs(1), stage.folder)
                .with_context(|| format!("warming up {} for: {}", proxy.name(), case.title()))?;
        }
        for round in 0..plan.rounds {
            for kind in plan.order(case, round) {
                let proxy = running(&mut proxies, kind)?;
                let sample = one(case, proxy, plan.load, stage.folder)
                    .with_context(|| format!("{} in: {}", proxy.name(), case.title()))?;
                eprintln!("    {}", sample.progress());
                samples.push(sample);
            }
        }
        step.done();
    }
    Ok(samples)
}

fn running(proxies: &mut [Proxy], kind: ProxyKind) -> Result<&mut Proxy> {
    match proxies.iter_mut().find(|proxy| proxy.kind() == kind) {
        Some(proxy) => Ok(proxy),
        None => bail!("{kind:?} was never started"),
    }
}

fn one(case: Case, proxy: &mut Proxy, load: Duration, folder: &Path) -> Result<Sample> {
    let before = proxy.cpu()?;
    let measure = load::run(case, proxy, load, folder)?;
    let spent = proxy.cpu()?.saturating_sub(before);
    Ok(Sample { case, proxy: proxy.kind(), measure, cpu: spent })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_begins_with_another_proxy() {
        let plan = Plan {
            quick: false,
            rounds: 2,
            load: Duration::from_secs(1),
            cases: vec![],
            proxies: vec![ProxyKind::Nodeway, ProxyKind::Haproxy],
        };
        let order = |round| plan.order(Case::KeepAlive, round);
        assert_eq!(order(0), [ProxyKind::Nodeway, ProxyKind::Haproxy]);
        assert_eq!(order(1), [ProxyKind::Haproxy, ProxyKind::Nodeway]);
        assert_eq!(order(2), order(0));
        assert_eq!(plan.order(Case::Size, 1), [ProxyKind::Many, ProxyKind::Few]);
    }
}
