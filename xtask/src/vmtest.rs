//! `vmtest`: the tests that go through eBPF, on another kernel than this machine's: Debian's, in QEMU.
//!
//! Not for what needs no kernel of its own: `test` runs everything else, and these too, on the kernel that is here.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};

mod chosen;
mod debian;
mod image;
mod machine;

use crate::build::{self, Profile};
use crate::shell::{self, Step};
use crate::{packages, test};

/// How long the machine may run before it is taken for stuck.
const LIMIT: Duration = Duration::from_secs(30 * 60);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only tests whose name contains this, also those that a pipeline leaves out.
    filter: Option<String>,
}

/// A test binary, and which of its tests are to run.
struct Suite {
    name: &'static str,
    binary: PathBuf,
    tests: Vec<String>,
}

pub(crate) fn main(args: &Args) -> Result<ExitCode> {
    if std::env::consts::ARCH != "x86_64" {
        bail!(
            "`vmtest` boots a kernel for x86_64 with programs of this machine: run it on one of that kind"
        );
    }
    test::prepare()?;
    packages::ensure(&[packages::CC], "packing the test programs")?;
    let kernel = debian::kernel()?;
    let qemu = debian::qemu()?;
    let busybox = debian::busybox()?;
    let suites = suites(args.filter.as_deref())?;
    let expected: usize = suites.iter().map(|suite| suite.tests.len()).sum();
    if expected == 0 {
        bail!("no test that goes through eBPF has that in its name");
    }
    let image = image::make(&kernel, &busybox, &suites)?;
    let step = Step::start(format!("{expected} tests on Linux {}, in QEMU", kernel.release));
    let tally = machine::run(&qemu, &kernel, &image, LIMIT);
    // It is large, and quickly made again.
    let _ = std::fs::remove_file(&image.archive);
    let tally = tally?;
    step.done();
    if tally.passed + tally.failed != expected as u64 {
        bail!("{expected} tests were to run: {} passed, {} failed", tally.passed, tally.failed);
    }
    Ok(tally.report())
}

/// The test binaries with what is chosen of them.
fn suites(filter: Option<&str>) -> Result<[Suite; 2]> {
    let step = Step::start("Building the tests that go through eBPF");
    let e2e = built(test::privileged(&["--test", "e2e"])?, "e2e")?;
    let intercept = built(test::unit_tests(), "intercept")?;
    step.done();
    Ok([
        Suite {
            name: "e2e",
            tests: chosen::of(&listed(&e2e)?, &chosen::E2E, filter)?,
            binary: e2e,
        },
        Suite {
            name: "intercept",
            tests: chosen::of(&listed(&intercept)?, &chosen::INTERCEPT, filter)?,
            binary: intercept,
        },
    ])
}

/// Has cargo build this test of what `command` would run; gives back the binary's path.
fn built(mut command: Command, name: &str) -> Result<PathBuf> {
    command.args(["--test", name, "--no-run", "--message-format=json-render-diagnostics"]);
    command.stderr(std::process::Stdio::inherit());
    let said = shell::output(&mut command)?;
    executable(&said, name).with_context(|| format!("cargo built no test `{name}`"))
}

/// The program that cargo's messages tell of, one a line
/// (<https://doc.rust-lang.org/cargo/reference/external-tools.html#artifact-messages>).
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str(line).ok());
    let mut found = messages.filter_map(|message: serde_json::Value| {
        let ours = message["target"]["name"] == name && message["target"]["kind"][0] == "test";
        Some(PathBuf::from(message["executable"].as_str().filter(|_| ours)?))
    });
    found.next()
}

/// The names of a test binary's tests, without those that only other tests run.
fn listed(binary: &Path) -> Result<Vec<String>> {
    let ask = |more: &[&str]| {
        let mut command = Command::new(binary);
        shell::output(command.args(["--list", "--format", "terse"]).args(more))
    };
    let names = |said: &str| -> Vec<String> {
        said.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
    };
    let ignored = names(&ask(&["--ignored"])?);
    Ok(names(&ask(&[])?).into_iter().filter(|name| !ignored.contains(name)).collect())
}

/// The programs that the tests start, as they are called in the image.
fn programs() -> Result<[(&'static str, PathBuf); 2]> {
    let built = |name| build::binary(Profile::TestRelease, name);
    Ok([("nodeway", built("nodeway")?), ("testserver", built("testserver")?)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_test_is_found_among_cargos_messages() {
        let said = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"e2e"},"executable":null}
            not json
            {"reason":"compiler-artifact","target":{"kind":["test"],"name":"e2e"},"executable":"/t/deps/e2e-1"}
            {"reason":"build-finished","success":true}"#;
        assert_eq!(executable(said, "e2e"), Some(PathBuf::from("/t/deps/e2e-1")));
        assert_eq!(executable(said, "other"), None);
    }
}
