//! Everyday commands: `cargo xtask build`, `run`, `demo`, `test`, `conformance`, `lint`, `bench`, `dist`.
//!
//! Not for what only a pipeline needs: `.ci/run` calls these same commands.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod arch;
mod bench;
mod build;
mod conformance;
mod demo;
mod dist;
mod ebpf;
mod fuzz;
mod helm;
mod lint;
mod packages;
mod pgo;
mod pip;
mod run;
mod shell;
mod test;
mod toolchain;
mod vmtest;

/// Build, try, test and measure Nodeway.
///
/// Every command finds what it needs and installs what is missing, and says so before it does: a
/// fresh Debian with rustup is enough. Nothing is ever removed from the machine.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the eBPF programs and the `nodeway` binary that embeds them.
    Build(build::Args),
    /// Build, then become `nodeway run` with the arguments after `--`.
    Run(run::Args),
    /// Show the mesh at work in network namespaces on this machine; needs no cluster.
    Demo(demo::Args),
    /// Run unit, integration, documentation and end-to-end tests.
    Test(test::Args),
    /// Run the Gateway API's conformance cases, and write docs/conformance.md by what they give.
    Conformance(conformance::Args),
    /// Feed parsers and matchers what nobody would write: libFuzzer on the targets in proxy/fuzz.
    Fuzz(fuzz::Args),
    /// Format, clippy, documentation and the rules of this house.
    Lint,
    /// Measure Nodeway side by side with HAProxy, nginx and Envoy on this machine.
    Bench(bench::Args),
    /// Run the tests that go through eBPF on Debian's kernel too, in an emulated machine.
    Vmtest(vmtest::Args),
    /// What a release consists of, in target/dist: binary, image, manifests and chart.
    Dist(dist::Args),
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Build(args) => build::main(&args),
        Command::Run(args) => run::main(&args),
        Command::Demo(args) => demo::main(&args),
        Command::Test(args) => test::main(&args),
        Command::Conformance(args) => conformance::main(&args),
        Command::Fuzz(args) => fuzz::main(&args),
        Command::Lint => lint::main(),
        Command::Bench(args) => bench::main(&args),
        Command::Vmtest(args) => vmtest::main(&args),
        Command::Dist(args) => dist::main(&args),
    }
}
