//! Runs one load against one proxy, bounded in time, and reads what came of it.
//!
//! Not for what is asked: see `cases`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::cases::{self, Case, Generator};
use super::parse::{self, Measure};
use super::process::Process;
use super::proxies::Proxy;

/// How long the last answers, and a generator's own sums, may take.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) fn run(case: Case, proxy: &mut Proxy, load: Duration, folder: &Path) -> Result<Measure> {
    let log = cases::log(folder);
    // h2load adds to an old one.
    let _ = std::fs::remove_file(&log);
    let command = case.command(proxy, load, folder);
    let generator = Process::start(&command, "load", folder)?;
    let (status, text) = generator.finish(load + PATIENCE)?;
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
