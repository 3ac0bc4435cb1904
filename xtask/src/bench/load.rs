//! Runs one load against one proxy, bounded in time, and reads what came of it.
//!
//! Not for what is asked: see `cases`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::cases::{Case, Generator};
use super::parse;
use super::process::Process;
use super::proxies::Proxy;

/// What a load generator says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Measure {
    pub(super) requests: u64,
    /// No answer, or not the one asked for.
    pub(super) failed: u64,
    pub(super) per_second: f64,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

pub(super) fn run(case: Case, proxy: &mut Proxy, load: Duration, folder: &Path) -> Result<Measure> {
    let log = folder.join("h2load.tsv");
    // h2load adds to an old one.
    let _ = std::fs::remove_file(&log);
    let command = case.command(proxy, load, &log);
    let generator = Process::start(&command, "load", folder)?;
    let (status, text) = generator.finish(load + Duration::from_secs(15))?;
    if !status.success() {
        bail!("the load generator ended with {status}:\n{text}\n{}", proxy.said());
    }
    let measure = match case.generator() {
        Generator::Wrk => parse::wrk(&text),
        Generator::H2load => {
            let log = std::fs::read_to_string(&log).context("h2load wrote no log")?;
            parse::h2load(&text, &log)
        }
    };
    let measure =
        measure.with_context(|| format!("the load generator said something new:\n{text}"))?;
    if measure.requests <= measure.failed {
        bail!("not one request got its answer:\n{text}\n{}", proxy.said());
    }
    Ok(measure)
}
