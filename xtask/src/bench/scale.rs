//! `bench --scale`: a node of a big cluster, all of which is an API server of our own.
//!
//! Not the measuring: that is the binary `scale` of the package `nodeway-tests`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::build::{self, Profile};
use crate::{packages, shell};

/// `given`: a `nodeway` built before.
pub(super) fn run(given: Option<&Path>) -> Result<ExitCode> {
    packages::ensure(&[packages::IPROUTE2], "the bench")?;
    let nodeway = match given {
        Some(given) => {
            given.canonicalize().with_context(|| format!("there is no {}", given.display()))?
        }
        None => super::shipped(false)?,
    };
    build::test_programs()?;
    let testserver = build::binary(Profile::TestRelease, "testserver")?;
    let scale = build::binary(Profile::TestRelease, "scale")?;
    if !shell::is_root() {
        eprintln!("==> The bench makes network namespaces and loads eBPF: it runs through sudo");
    }
    let mut command = shell::as_root(&scale, &["NODEWAY_BIN", "TESTSERVER_BIN"])?;
    command.env("NODEWAY_BIN", nodeway).env("TESTSERVER_BIN", testserver);
    eprintln!("==> {}", shell::line(&command));
    let status =
        command.status().with_context(|| format!("cannot start `{}`", shell::line(&command)))?;
    // It says itself what has missed its goal.
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
