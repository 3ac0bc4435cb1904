//! `build`: the eBPF object first, then the binary that embeds it.
//!
//! Not for packing (`dist`) or for starting it (`run`).

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::arch::Arch;
use crate::shell::{self, SEPARATOR, Step};
use crate::{ebpf, packages, toolchain};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fully optimised: takes minutes to link, gives target/release/nodeway.
    #[arg(long)]
    release: bool,
}

pub(crate) fn main(args: &Args) -> Result<ExitCode> {
    let binary = nodeway(if args.release { Profile::Release } else { Profile::Dev })?;
    println!("{}", binary.display());
    Ok(ExitCode::SUCCESS)
}

/// Cargo's profiles, by what they are for here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    /// Close to release and quick to link: what the tests and the demo run.
    TestRelease,
    Release,
}

impl Profile {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::TestRelease => "test-release",
            Self::Release => "release",
        }
    }

    /// The folder of its binaries under target/.
    pub(crate) fn folder(self) -> PathBuf {
        shell::target_dir().join(match self {
            Self::Dev => "debug",
            other => other.name(),
        })
    }
}

/// Builds `nodeway` with its eBPF programs; gives back the binary's path.
pub(crate) fn nodeway(profile: Profile) -> Result<PathBuf> {
    // Some dependencies compile C.
    packages::ensure(&[packages::CC], "building Nodeway")?;
    let object = ebpf::build()?;
    let step = Step::start(format!("Building nodeway ({})", profile.name()));
    let mut command = shell::cargo();
    command
        .args(["build", "--package", "nodeway", "--bin", "nodeway", "--profile", profile.name()])
        .env(ebpf::OBJECT_VARIABLE, object);
    shell::run(&mut command)?;
    step.done();
    binary(profile, "nodeway")
}

/// Builds a `nodeway` that needs nothing of the system it runs on: an image may hold it alone. With `more` flags for the
/// compiler, and in a target folder of its own where it has one.
pub(crate) fn static_nodeway(
    profile: Profile,
    arch: Arch,
    more: &[String],
    folder: Option<&Path>,
) -> Result<PathBuf> {
    packages::ensure(arch.packages(), "building Nodeway")?;
    let target = arch.target();
    toolchain::standard_library(&target)?;
    let object = if arch.is_host() {
        ebpf::build()?
    } else {
        let object = shell::target_dir().join(format!("bpf/nodeway-{}.bpf.o", arch.rust()));
        ebpf::build_for(arch.rust(), object)?
    };
    let how = [profile.name()].into_iter().chain(more.iter().map(String::as_str));
    let how = how.collect::<Vec<_>>().join(", ");
    let step = Step::start(format!("Building a static nodeway ({target}, {how})"));
    let target_dir = folder.map_or_else(shell::target_dir, Path::to_path_buf);
    // glibc, whole: Nodeway asks no name service; the API server has an address in the environment.
    let flags = ["-Ctarget-feature=+crt-static"].into_iter().chain(more.iter().map(String::as_str));
    let variable =
        |what: &str| format!("CARGO_TARGET_{}_{what}", target.to_uppercase().replace('-', "_"));
    let mut command = shell::cargo();
    command
        .args(["build", "--package", "nodeway", "--bin", "nodeway", "--profile", profile.name()])
        // Named also for the host: else the flags would reach build scripts and macros.
        .args(["--target", &target, "--target-dir"])
        .arg(&target_dir)
        .env(ebpf::OBJECT_VARIABLE, object)
        .env(variable("LINKER"), arch.linker())
        .env("CARGO_ENCODED_RUSTFLAGS", flags.collect::<Vec<_>>().join(SEPARATOR));
    shell::run(&mut command)?;
    step.done();
    let folder = profile.folder();
    let folder = folder.file_name().unwrap_or_default();
    let path = target_dir.join(target).join(folder).join("nodeway");
    path.canonicalize().with_context(|| format!("cargo built no {}", path.display()))
}

/// Builds the programs of the package `nodeway-tests`: the demo, and the server that runs in pods.
pub(crate) fn test_programs() -> Result<()> {
    let profile = Profile::TestRelease.name();
    let step = Step::start(format!("Building the test programs ({profile})"));
    let mut command = shell::cargo();
    command.args(["build", "--package", "nodeway-tests", "--bins", "--profile", profile]);
    shell::run(&mut command)?;
    step.done();
    Ok(())
}

pub(crate) fn binary(profile: Profile, name: &str) -> Result<PathBuf> {
    let path = profile.folder().join(name);
    path.canonicalize().with_context(|| format!("cargo built no {}", path.display()))
}
