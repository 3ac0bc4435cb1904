//! `fuzz`: libFuzzer on the targets in `proxy/fuzz`, each a parser or a matcher.
//!
//! Stable Rust will do: coverage is LLVM's, asked for by flags that rustc passes on. What is fuzzed is safe code, so
//! that no sanitizer is missed.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;

use anyhow::{Context, Result, bail};

use crate::packages;
use crate::shell::{self, Step};

/// The core's: they build quickly.
const CORE: [&str; 4] = ["first_bytes", "path", "router", "sni"];
/// The proxy's, which come with the Kubernetes crates.
const OBJECTS: [&str; 4] = ["grpc_health", "manifests", "requests", "responses"];
/// What LLVM is to add to each function, as cargo-fuzz asks for it.
const FLAGS: [&str; 6] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];
/// What cargo puts between flags.
const SEPARATOR: &str = "\x1f";
/// One input that takes longer is a finding.
const TIMEOUT_SECONDS: u32 = 10;
/// And one that needs more memory, MiB.
const MEMORY: u32 = 1024;
/// So many at once.
const AT_ONCE: usize = 2;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The target; all if none is given.
    target: Option<String>,
    /// How long each target is run.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Only this input: what was found before.
    #[arg(long, requires = "target")]
    input: Option<PathBuf>,
}

pub(crate) fn main(args: &Args) -> Result<ExitCode> {
    let known: Vec<&str> = CORE.into_iter().chain(OBJECTS).collect();
    let targets: Vec<&str> = match &args.target {
        None => known.clone(),
        Some(name) => known.iter().copied().filter(|target| target == name).collect(),
    };
    if targets.is_empty() {
        bail!("there is no such target; there are: {}", known.join(", "));
    }
    // Not the workspace, whose folder is another: from where the user stands.
    let input = args.input.as_ref().map(std::path::absolute).transpose()?;
    packages::ensure(&[packages::CC, packages::CXX], "building libFuzzer")?;
    build(&targets)?;
    if let (Some(input), [target]) = (&input, &targets[..]) {
        let status = Command::new(binary(target)).arg(input).status()?;
        return Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let step = Step::start(format!("Fuzzing {} for {} s each", targets.join(", "), args.seconds));
    let mut failed = Vec::new();
    for some in targets.chunks(AT_ONCE) {
        let results: Vec<(&str, Result<()>)> = thread::scope(|scope| {
            let runs: Vec<_> = some
                .iter()
                .map(|target| (*target, scope.spawn(|| run(target, args.seconds))))
                .collect();
            let joined = runs.into_iter().map(|(target, run)| {
                let result =
                    run.join().unwrap_or_else(|_| bail!("the thread that runs it panicked"));
                (target, result)
            });
            joined.collect()
        });
        for (target, result) in results {
            if let Err(error) = result {
                eprintln!("{error:#}");
                failed.push(target);
            }
        }
    }
    step.done();
    if failed.is_empty() {
        println!("fuzz: {} targets, nothing found", targets.len());
        return Ok(ExitCode::SUCCESS);
    }
    println!("fuzz: found something in {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

fn folder() -> PathBuf {
    shell::workspace().join("proxy/fuzz")
}

fn build_dir() -> PathBuf {
    shell::target_dir().join("fuzz")
}

fn binary(target: &str) -> PathBuf {
    build_dir().join(triple()).join("release").join(target)
}

/// Named, so that flags are for what is fuzzed and not for build scripts.
fn triple() -> String {
    let env = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
    format!("{}-unknown-linux-{env}", std::env::consts::ARCH)
}

fn build(targets: &[&str]) -> Result<()> {
    // The same versions of everything as in the workspace.
    let locks = (shell::workspace().join("Cargo.lock"), folder().join("Cargo.lock"));
    std::fs::copy(&locks.0, &locks.1)
        .with_context(|| format!("cannot copy {} to {}", locks.0.display(), locks.1.display()))?;
    let mut command = shell::cargo();
    command
        .args(["build", "--quiet", "--release", "--target", &triple()])
        .args(["--manifest-path", "proxy/fuzz/Cargo.toml", "--target-dir"])
        .arg(build_dir())
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join(SEPARATOR));
    if targets.iter().any(|target| OBJECTS.contains(target)) {
        command.args(["--features", "objects"]);
    }
    targets.iter().for_each(|target| {
        command.args(["--bin", target]);
    });
    let step = Step::of("Building the fuzz targets", &command);
    shell::run(&mut command)?;
    step.done();
    Ok(())
}

/// Runs one: the seeds first, then whatever libFuzzer makes of them and of what it kept from earlier runs.
fn run(target: &str, seconds: u32) -> Result<()> {
    let kept = build_dir().join("corpus").join(target);
    let found = build_dir().join("found").join(target);
    for folder in [&kept, &found] {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut command = Command::new(binary(target));
    command.arg(&kept).args(seeds(target)).args([
        format!("-max_total_time={seconds}"),
        format!("-timeout={TIMEOUT_SECONDS}"),
        format!("-rss_limit_mb={MEMORY}"),
        format!("-artifact_prefix={}/", found.display()),
        "-print_final_stats=1".to_owned(),
    ]);
    let output = command.output().with_context(|| format!("cannot start the target {target}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        let inputs = said.lines().find(|line| line.contains("number_of_executed_units"));
        let inputs = inputs.and_then(|line| line.split_whitespace().last()).unwrap_or("?");
        eprintln!("    {target}: {inputs} inputs, nothing found");
        return Ok(());
    }
    let last: Vec<&str> = said.lines().rev().take(60).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    let input = said.lines().find_map(|line| line.split_once("Test unit written to "));
    let input = input.map_or("INPUT", |(_, input)| input.trim());
    bail!(
        "{}\n{target}: found something. Again:\n    cargo xtask fuzz {target} --input {input}\nIts input belongs \
         into proxy/fuzz/seeds/{target}, where every run begins, and into a test beside the code.",
        last.join("\n")
    );
}

/// Folders of inputs that every run begins with.
fn seeds(target: &str) -> Vec<PathBuf> {
    let mut folders = vec![folder().join("seeds").join(target)];
    if target == "manifests" {
        folders.push(shell::workspace().join("docs/examples"));
    }
    folders.retain(|folder: &PathBuf| Path::is_dir(folder));
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_a_program_and_every_program_a_target() {
        let manifest = std::fs::read_to_string(folder().join("Cargo.toml")).unwrap();
        let mut there: Vec<&str> = manifest
            .lines()
            .filter_map(|line| line.strip_prefix("path = \"targets/")?.strip_suffix(".rs\""))
            .collect();
        let mut run: Vec<&str> = CORE.into_iter().chain(OBJECTS).collect();
        there.sort_unstable();
        run.sort_unstable();
        assert_eq!(there, run);
    }

    #[test]
    fn every_target_has_seeds() {
        for target in CORE.into_iter().chain(OBJECTS) {
            let seeds = seeds(target);
            let any = seeds.iter().any(|folder| folder.read_dir().unwrap().next().is_some());
            assert!(any, "{target}");
        }
    }
}
