//! `bench balance`: what the balancing algorithms do for a fleet one of whose servers is slow.
//!
//! Not the measuring: that is the binary `balance` of the package `nodeway-tests`.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::build::{self, Profile};
use crate::shell;

/// How long requests take under each algorithm, in a simulation and through a real Nodeway: a table. Less
/// than three minutes after building.
#[derive(clap::Args)]
pub(super) struct Args {
    /// A look in half a minute.
    #[arg(long)]
    quick: bool,
    /// Also write the table and a plot to docs/benchmarks.
    #[arg(long)]
    write: bool,
    /// Do not build Nodeway, measure this binary.
    #[arg(long, value_name = "FILE")]
    nodeway: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let nodeway = match &args.nodeway {
        Some(given) => {
            given.canonicalize().with_context(|| format!("there is no {}", given.display()))?
        }
        None => build::nodeway(Profile::TestRelease)?,
    };
    build::test_programs()?;
    let mut command = Command::new(build::binary(Profile::TestRelease, "balance")?);
    command.env("NODEWAY_BIN", nodeway);
    if args.quick {
        command.arg("--quick");
    }
    if args.write {
        command.arg("--write").arg(shell::workspace().join("docs/benchmarks"));
    }
    eprintln!("==> {}", shell::line(&command));
    let status =
        command.status().with_context(|| format!("cannot start `{}`", shell::line(&command)))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
