//! `demo`: builds what the demo needs and runs it as root.
//!
//! Not for the show itself: that is the binary `demo` of the package `nodeway-tests`.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::build::{self, Profile};
use crate::{packages, shell};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave everything running at the end, to look around.
    #[arg(long)]
    keep: bool,
}

pub(crate) fn main(args: &Args) -> Result<ExitCode> {
    packages::ensure(&[packages::CURL, packages::IPROUTE2], "the demo")?;
    let nodeway = build::nodeway(Profile::TestRelease)?;
    build::test_programs()?;
    let testserver = build::binary(Profile::TestRelease, "testserver")?;
    let demo = build::binary(Profile::TestRelease, "demo")?;

    if !shell::is_root() {
        eprintln!("==> The demo makes network namespaces and loads eBPF: it runs through sudo");
    }
    let mut command = shell::as_root(&demo, &["NODEWAY_BIN", "TESTSERVER_BIN"])?;
    command.env("NODEWAY_BIN", nodeway).env("TESTSERVER_BIN", testserver);
    if args.keep {
        command.arg("--keep");
    }
    eprintln!("==> {}", shell::line(&command));
    let status =
        command.status().with_context(|| format!("cannot start `{}`", shell::line(&command)))?;
    // A signal is no code of its own: the shell's 128 + n would be a guess.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
