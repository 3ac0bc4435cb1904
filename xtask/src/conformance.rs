//! `conformance`: runs the cases of the Gateway API and writes docs/conformance.md by what they give.
//!
//! Not for what the cases are: see tests/conformance. `test` runs them too, and compares the page.

use std::process::ExitCode;

use anyhow::Result;

use crate::test;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only cases whose name contains this; the page stays as it is.
    filter: Option<String>,
}

pub(crate) fn main(args: &Args) -> Result<ExitCode> {
    test::prepare()?;
    let mut command = test::privileged(&["--test", "conformance"])?;
    command.env("NODEWAY_CONFORMANCE", "write").args(&args.filter);
    Ok(test::run(&mut command, "Conformance")?.report())
}
