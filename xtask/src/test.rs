//! `test`: every test there is, and one line at the end that sums them up.
//!
//! Not for what the tests do: see the crates, and `tests/` for the end-to-end ones.

use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::build::{self, Profile};
use crate::packages::{self, Package};
use crate::shell::{self, Step};
use crate::{ebpf, helm, toolchain};

const NEEDED: [Package; 8] = [
    packages::CURL,
    packages::IPROUTE2,
    packages::PYTHON3,
    packages::OPENSSL,
    packages::H2LOAD,
    packages::REDIS,
    packages::REDIS_TOOLS,
    packages::KUBECTL,
];
/// The end-to-end tests share one kernel and, in a pipeline, two cores.
const E2E_THREADS: &str = "2";
const E2E_PACKAGE: &str = "nodeway-tests";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only tests whose name contains this.
    filter: Option<String>,
    /// Only tests that need neither root nor an eBPF toolchain: unit, integration, documentation, deploy/.
    #[arg(long, conflicts_with = "e2e")]
    unit: bool,
    /// Only the end-to-end tests: network namespaces and eBPF in this kernel, as root.
    #[arg(long)]
    e2e: bool,
}

pub(crate) fn main(args: &Args) -> Result<ExitCode> {
    if args.unit {
        packages::ensure(&[packages::CC, packages::KUBECTL], "testing")?;
        return Ok(unprivileged(args)?.report());
    }
    packages::ensure(&NEEDED, "testing")?;
    // What cannot be had should be known before the long part.
    toolchain::compiler()?;
    toolchain::linker()?;
    let mut total = Tally::default();
    if !args.e2e {
        ebpf::build()?;
        total += unprivileged(args)?;
    }
    prepare()?;
    let mut e2e = privileged(&["--lib", "--test", "e2e", "--test", "conformance"])?;
    pass_on(&mut e2e, args);
    total += run(&mut e2e, "End-to-end tests")?;
    Ok(total.report())
}

/// What tests that go through eBPF stand on: packages, and programs that are built.
pub(crate) fn prepare() -> Result<()> {
    packages::ensure(&NEEDED, "testing")?;
    build::nodeway(Profile::TestRelease)?;
    build::test_programs()
}

fn unprivileged(args: &Args) -> Result<Tally> {
    let mut total = run(&mut unit(args), "Unit, integration and documentation tests")?;
    total += run(&mut deploy(args)?, "Tests of deploy/")?;
    Ok(total)
}

fn unit(args: &Args) -> Command {
    let mut command = unit_tests();
    command.arg("--no-fail-fast");
    pass_on(&mut command, args);
    command
}

/// All tests of all packages but the end-to-end ones.
pub(crate) fn unit_tests() -> Command {
    let mut command = shell::cargo();
    // Never with --all-features: the programs' own feature is for the BPF target only.
    command.args(["test", "--workspace", "--exclude", E2E_PACKAGE]);
    let object = ebpf::object_path();
    if object.is_file() {
        command.env(ebpf::OBJECT_VARIABLE, object);
    }
    command
}

/// The chart and the manifests, as Helm and kubectl render them.
fn deploy(args: &Args) -> Result<Command> {
    let mut command = shell::cargo();
    command.args(["test", "--package", E2E_PACKAGE, "--test", "deploy"]);
    if let Some(library) = helm::library()? {
        command.env(helm::LIBRARY_VARIABLE, library);
    }
    pass_on(&mut command, args);
    Ok(command)
}

/// These tests, as root.
pub(crate) fn privileged(tests: &[&str]) -> Result<Command> {
    let mut command = shell::cargo();
    command
        .args(["test", "--package", E2E_PACKAGE, "--profile", Profile::TestRelease.name()])
        .args(tests)
        .arg("--no-fail-fast")
        .env("NODEWAY_BIN", build::binary(Profile::TestRelease, "nodeway")?)
        .env("TESTSERVER_BIN", build::binary(Profile::TestRelease, "testserver")?)
        .env("RUST_TEST_THREADS", E2E_THREADS);
    if shell::is_root() || shell::in_ci() {
        // A skipped test would be a promise nobody checked.
        command.env("NODEWAY_REQUIRE_PRIVILEGED", "1");
    }
    if !shell::is_root() {
        // Only the tests run as root, not cargo: nothing in target/ changes hands.
        let keep = [
            "NODEWAY_BIN",
            "TESTSERVER_BIN",
            "NODEWAY_CONFORMANCE",
            "NODEWAY_E2E_CLUSTER",
            "NODEWAY_REQUIRE_PRIVILEGED",
            "KUBECONFIG",
            "RUST_TEST_THREADS",
            "RUST_BACKTRACE",
            "CI",
        ];
        let runner = shell::as_root("env", &keep)?;
        eprintln!("==> The end-to-end tests run through sudo: namespaces and eBPF need root");
        command.env(runner_variable(), shell::line(&runner));
    }
    Ok(command)
}

/// How cargo is told to start the programs it builds for this host through another one.
fn runner_variable() -> String {
    let env = if cfg!(target_env = "musl") { "MUSL" } else { "GNU" };
    format!("CARGO_TARGET_{}_UNKNOWN_LINUX_{env}_RUNNER", std::env::consts::ARCH.to_uppercase())
}

fn pass_on(command: &mut Command, args: &Args) {
    command.args(&args.filter);
    if std::io::stdout().is_terminal() {
        command.args(["--", "--color", "always"]);
    }
}

/// Runs one cargo test, its output passed through as it comes, and counts.
pub(crate) fn run(command: &mut Command, what: &str) -> Result<Tally> {
    let step = Step::of(what, command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", shell::line(command)))?;
    let mut tally = Tally::default();
    if let Some(stdout) = child.stdout.take() {
        tally = pass_through(BufReader::new(stdout), &mut std::io::stdout().lock())?;
    }
    let status = child.wait().context("cargo test cannot be waited for")?;
    if !status.success() && tally.failed == 0 {
        eprintln!("error: {what} ended with {status} before all tests had run");
        tally.failed = 1;
    }
    step.done();
    Ok(tally)
}

fn pass_through(mut from: impl BufRead, to: &mut impl Write) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut line = Vec::new();
    // Not `lines()`: a test may print what is no UTF-8.
    while from.read_until(b'\n', &mut line).context("cargo test's output broke off")? > 0 {
        to.write_all(&line).and_then(|()| to.flush()).context("cannot write to stdout")?;
        if let Some(result) = Tally::from_line(&String::from_utf8_lossy(&line)) {
            tally += result;
        }
        line.clear();
    }
    Ok(tally)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl Tally {
    /// `test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; ...`
    pub(crate) fn from_line(line: &str) -> Option<Self> {
        let line = without_colour(line);
        // A test may have left its own output on the line before it.
        let (_, counts) = line.split_once("test result: ")?.1.split_once(". ")?;
        let count = |word: &str| {
            counts.split(';').find_map(|part| {
                part.trim().strip_suffix(word).and_then(|number| number.trim().parse().ok())
            })
        };
        Some(Self { passed: count("passed")?, failed: count("failed")? })
    }

    pub(crate) fn report(self) -> ExitCode {
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Takes out terminal colours: `ESC [ ... m`.
fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\x1b' {
            characters.by_ref().find(|c| c.is_ascii_alphabetic());
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_result_lines_are_summed_and_everything_is_passed_on() {
        let output: &[u8] = b"running 3 tests\n\
            test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s\n\
            \xff not text\n\
            test result: \x1b[31mFAILED\x1b[m. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\n\
            no newline at the end";
        let mut copy = Vec::new();
        let tally = pass_through(output, &mut copy).unwrap();
        assert_eq!(tally, Tally { passed: 4, failed: 2 });
        assert_eq!(copy, output);
    }

    #[test]
    fn talk_about_results_is_no_result() {
        assert_eq!(Tally::from_line("test result: unknown"), None);
        assert_eq!(Tally::from_line("test lint::result ... ok"), None);
    }

    #[test]
    fn the_runner_is_this_hosts() {
        let name = runner_variable();
        assert!(name.starts_with("CARGO_TARGET_") && name.ends_with("_RUNNER"), "{name}");
        assert!(!name.contains('-'));
    }
}
