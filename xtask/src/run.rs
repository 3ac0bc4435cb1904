//! `run`: builds Nodeway and becomes `nodeway run`.
//!
//! Not for making pods to run it with: `demo` does.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::build::{self, Profile};
use crate::shell;

/// Arguments after `--` go to `nodeway run`, for example:
/// `cargo xtask run -- --no-ebpf --manifests DIR --listen 127.0.0.1:8080=shop/web:80`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fully optimised: takes minutes to link.
    #[arg(long)]
    release: bool,
    /// What `nodeway run` is given.
    #[arg(last = true)]
    arguments: Vec<String>,
}

pub(crate) fn main(args: &Args) -> Result<ExitCode> {
    let binary = build::nodeway(if args.release { Profile::Release } else { Profile::Dev })?;
    let mut command = Command::new(binary);
    command.arg("run").args(&args.arguments);
    eprintln!("==> {}", shell::line(&command));
    // Signals and the exit code are then Nodeway's own.
    Err(command.exec()).with_context(|| format!("cannot start `{}`", shell::line(&command)))
}
