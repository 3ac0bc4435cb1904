//! `bench transparent`: from pod to pod through a Service's address, by Nodeway and by what others put there.
//!
//! Not the measuring: that is the binary `transparent` of the package `nodeway-tests`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use super::proxies::envoy;
use super::repeats::Repeats;
use crate::build::{self, Profile};
use crate::{packages, shell};

/// The way of a connection from a pod to a Service's pod: with nothing in between, with kube-proxy's address
/// translation, with Nodeway (L7, and balanced by the kernel), with a pair of Envoy sidecars. Some 15 minutes.
#[derive(clap::Args)]
pub(super) struct Args {
    /// A look in a minute: 2 rounds of a second, without what acceleration does.
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    repeats: Repeats,
    /// A `nodeway` built before, with the eBPF programs in it, instead of building one now.
    #[arg(long, value_name = "FILE")]
    nodeway: Option<PathBuf>,
    /// Also write the tables and a plot to docs/benchmarks.
    #[arg(long)]
    write: bool,
}

/// How much of it.
pub(super) struct Extent {
    pub(super) quick: bool,
    pub(super) rounds: u32,
    pub(super) seconds: u64,
    pub(super) write: bool,
}

pub(super) fn main(args: &Args) -> Result<ExitCode> {
    let (rounds, seconds) = args.repeats.or_default(args.quick);
    let extent = Extent { quick: args.quick, rounds, seconds: seconds.into(), write: args.write };
    let nodeway = match &args.nodeway {
        Some(given) => {
            given.canonicalize().with_context(|| format!("there is no {}", given.display()))?
        }
        None => super::shipped(args.quick)?,
    };
    prepare()?;
    run(&extent, &nodeway)
}

/// All that is installed or built, but for Nodeway itself.
pub(super) fn prepare() -> Result<()> {
    let needs = [
        packages::IPROUTE2,
        packages::IPTABLES,
        packages::NGINX,
        packages::WRK,
        packages::H2LOAD,
        packages::CURL,
    ];
    packages::ensure(&needs, "the bench")?;
    build::test_programs()
}

pub(super) fn run(extent: &Extent, nodeway: &Path) -> Result<ExitCode> {
    let transparent = build::binary(Profile::TestRelease, "transparent")?;
    if !shell::is_root() {
        eprintln!("==> The bench makes network namespaces and loads eBPF: it runs through sudo");
    }
    let mut command = shell::as_root(&transparent, &["NODEWAY_BIN", "ENVOY_BIN"])?;
    command.env("NODEWAY_BIN", nodeway).env("ENVOY_BIN", envoy::binary()?);
    command.args(["--rounds", &extent.rounds.to_string()]);
    command.args(["--seconds", &extent.seconds.to_string()]);
    if extent.quick {
        command.arg("--fewer-ways");
    }
    if extent.write {
        command.arg("--write").arg(shell::workspace().join("docs/benchmarks"));
    }
    eprintln!("==> {}", shell::line(&command));
    let status =
        command.status().with_context(|| format!("cannot start `{}`", shell::line(&command)))?;
    // It says itself what has failed.
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
