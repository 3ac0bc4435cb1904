//! Finds or installs what compiles and links the eBPF programs: a compiler with `core` for BPF, and
//! `bpf-linker`.
//!
//! Not for the host's compiler: that is the one cargo runs us with.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::packages::{self, Installable, Package};
use crate::shell::{self, Step};

/// The LLVM that bpf-linker is built with. It reads the bitcode of its own version and older, so a
/// compiler on a newer LLVM needs a newer linker.
const LLVM: u32 = 22;
const LINKER_VERSION: &str = "0.13.0";
/// Makes one profile of many counts.
const PROFDATA: &str = "llvm-profdata";
const DEBIAN: [Package; 3] = [packages::RUSTC_WEB, packages::CARGO_WEB, packages::CORE_FOR_BPF];
const LINKER_NEEDS: [Package; 4] =
    [packages::LLVM_22, packages::POLLY_22, packages::CC, packages::CXX];

/// A compiler that can make BPF objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Compiler {
    /// A rustup nightly with the sources of `core`, which is compiled along (`-Z build-std`).
    Nightly { llvm: u32 },
    /// Debian's `rustc-web`, with a `core` already compiled for BPF.
    Debian,
}

pub(crate) const BPF_TARGET: &str =
    if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" };

impl Compiler {
    /// Cargo with this compiler, ready for its subcommand.
    pub(crate) fn cargo(&self, subcommand: &str) -> Command {
        let mut command = match self {
            Self::Nightly { .. } => Command::new("rustup"),
            Self::Debian => Command::new("/usr/bin/cargo"),
        };
        shell::without_toolchain(&mut command);
        command.current_dir(shell::workspace());
        match self {
            Self::Nightly { .. } => {
                command.args(["run", "nightly", "cargo", subcommand, "-Z", "build-std=core"]);
            }
            Self::Debian => {
                command.env("RUSTC", "/usr/bin/rustc").env("RUSTDOC", "/usr/bin/rustdoc");
                // A stable compiler; aya-ebpf needs unstable features.
                command.env("RUSTC_BOOTSTRAP", "1").arg(subcommand);
            }
        }
        command.args(["--target", BPF_TARGET]);
        command
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Nightly { .. } => "rustup's nightly with rust-src",
            Self::Debian => "Debian's rustc-web",
        }
    }
}

/// What is on this machine already; installs nothing.
pub(crate) fn find_compiler() -> Option<Compiler> {
    match nightly() {
        Some(Compiler::Nightly { llvm }) if llvm > LLVM && linker_on_path().is_none() => {
            eprintln!(
                "    rustup's nightly is on LLVM {llvm}, newer than the bpf-linker we can build \
                 (LLVM {LLVM}): not used"
            );
            debian()
        }
        Some(found) => Some(found),
        None => debian(),
    }
}

/// Finds one, or installs one in the way that suits the machine.
pub(crate) fn compiler() -> Result<Compiler> {
    if let Some(found) = find_compiler() {
        return Ok(found);
    }
    let mut debian_way = packages::installable(&DEBIAN);
    if debian_way != Installable::Yes && shell::which("apt-get").is_some() {
        // Perhaps only the package lists are missing; if they cannot be had, the ways are named below.
        if packages::update().is_ok() {
            debian_way = packages::installable(&DEBIAN);
        }
    }
    let why_not_debian = match debian_way {
        Installable::Yes => {
            packages::ensure(&DEBIAN, "compiling the eBPF programs")?;
            return find_compiler().context("rustc-web is installed but has no `core` for BPF");
        }
        Installable::No(why) => why,
    };
    let why_not_rustup = match add_nightly() {
        Ok(()) => match find_compiler() {
            Some(found) => return Ok(found),
            None => "the nightly it installed does not suit our bpf-linker".to_owned(),
        },
        Err(error) => format!("{error:#}"),
    };
    bail!("{}", neither(&why_not_rustup, &why_not_debian));
}

fn neither(why_not_rustup: &str, why_not_debian: &str) -> String {
    let packages = DEBIAN.map(|package| package.name).join(" ");
    format!(
        "the eBPF programs need a compiler with `core` for BPF. Either of two ways will do:\n\
         \n\
         1. rustup:  rustup toolchain install nightly --profile minimal --component rust-src\n\
         \x20           (not done for you: {why_not_rustup})\n\
         2. Debian:  apt-get install {packages}\n\
         \x20           (not done for you: {why_not_debian})\n\
         \n\
         rustc-web conflicts with Debian's own packages rustc and rustup, which are never removed \
         for you; a rustup from rustup.rs lives beside it in peace."
    )
}

fn nightly() -> Option<Compiler> {
    shell::which("rustup")?;
    let ask = |what: &[&str]| {
        let mut command = Command::new("rustup");
        shell::without_toolchain(&mut command).args(["run", "nightly", "rustc"]).args(what);
        shell::output(&mut command).ok()
    };
    let sysroot = ask(&["--print", "sysroot"])?;
    let core = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/src/lib.rs");
    if !core.is_file() {
        return None;
    }
    Some(Compiler::Nightly { llvm: llvm_major(&ask(&["-vV"])?)? })
}

/// `LLVM version: 22.1.4` in what `rustc -vV` says.
fn llvm_major(about: &str) -> Option<u32> {
    let version = about.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next()?.trim().parse().ok()
}

fn debian() -> Option<Compiler> {
    let here = DEBIAN.iter().all(Package::is_here);
    here.then_some(Compiler::Debian)
}

fn add_nightly() -> Result<()> {
    if shell::which("rustup").is_none() {
        bail!("there is no rustup");
    }
    let step = Step::start("Installing rustup's nightly with rust-src, for the eBPF programs");
    let mut command = Command::new("rustup");
    shell::without_toolchain(&mut command).args([
        "toolchain",
        "install",
        "nightly",
        "--profile",
        "minimal",
        "--component",
        "rust-src",
    ]);
    shell::run(&mut command)?;
    step.done();
    Ok(())
}

/// The standard library for `target`, of the compiler that cargo runs us with.
pub(crate) fn standard_library(target: &str) -> Result<()> {
    let mut ask = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    ask.current_dir(shell::workspace()).args(["--print", "target-libdir", "--target", target]);
    let folder = shell::output(&mut ask)?;
    if Path::new(folder.trim()).is_dir() {
        return Ok(());
    }
    let step = Step::start(format!("Adding Rust's standard library for {target}"));
    let mut add = Command::new("rustup");
    add.current_dir(shell::workspace()).args(["target", "add", target]);
    shell::run(&mut add).with_context(|| {
        format!(
            "building for {target} needs Rust's standard library for it, and `rustup target add \
             {target}` could not get it: build on a machine of that architecture instead"
        )
    })?;
    step.done();
    Ok(())
}

/// `llvm-profdata`: of our compiler's LLVM, as rustup has it; else one of the same major version, which reads the same
/// profiles.
pub(crate) fn profdata() -> Result<PathBuf> {
    let ask = |what: &[&str]| {
        let mut ask = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        shell::output(ask.current_dir(shell::workspace()).args(what))
    };
    let libraries = ask(&["--print", "target-libdir"])?;
    // Beside the standard library's folder.
    let ours = Path::new(libraries.trim()).with_file_name("bin").join(PROFDATA);
    let llvm = llvm_major(&ask(&["-vV"])?).context("rustc does not say what LLVM it is on")?;
    let debians = PathBuf::from(format!("/usr/lib/llvm-{llvm}/bin/{PROFDATA}"));
    let find = || [&ours, &debians].into_iter().find(|file| file.is_file()).cloned();
    if let Some(found) = find() {
        return Ok(found);
    }
    let step = Step::start("Adding rustup's llvm-tools, which read profiles");
    let mut add = Command::new("rustup");
    add.current_dir(shell::workspace()).args(["component", "add", "llvm-tools"]);
    let added = shell::run(&mut add);
    let found = find().with_context(|| {
        let why = added.err().map(|error| format!(" (tried: {error:#})")).unwrap_or_default();
        format!(
            "a release is built by a profile, which {PROFDATA} of LLVM {llvm} reads. Either of two \
             will do: `rustup component add llvm-tools`{why}, or a package of your system that \
             brings {}",
            debians.display()
        )
    })?;
    step.done();
    Ok(found)
}

/// `bpf-linker`: one on PATH that is new enough, or ours in `target/tools`, built if need be.
pub(crate) fn linker() -> Result<PathBuf> {
    if let Some(linker) = linker_on_path() {
        return Ok(linker);
    }
    let tools = shell::target_dir().join("tools");
    let linker = tools.join("bin/bpf-linker");
    if works(&linker) {
        return Ok(linker);
    }
    packages::ensure(&LINKER_NEEDS, "building bpf-linker")?;
    let step =
        Step::start(format!("Building bpf-linker {LINKER_VERSION} into {}", tools.display()));
    let mut install = shell::cargo();
    install
        .args(["install", "--quiet", "--locked", "--force", "--root"])
        .arg(&tools)
        .args(["--no-default-features", "--features", "llvm-22"])
        .args(["--version", LINKER_VERSION, "bpf-linker"])
        .env("LLVM_PREFIX", "/usr/lib/llvm-22");
    shell::run(&mut install).context("bpf-linker could not be built")?;
    if !works(&linker) {
        bail!("{} was built but does not run", linker.display());
    }
    step.done();
    Ok(linker)
}

fn linker_on_path() -> Option<PathBuf> {
    shell::which("bpf-linker").filter(|linker| works(linker))
}

fn works(linker: &Path) -> bool {
    linker.is_file()
        && shell::output(Command::new(linker).arg("--version"))
            .is_ok_and(|version| is_new_enough(&version))
}

/// `bpf-linker 0.13.0`; 0.13 is the first for these compilers.
fn is_new_enough(version: &str) -> bool {
    let Some(version) = version.split_whitespace().nth(1) else { return false };
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let (major, minor) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    (major, minor) >= (0, 13)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compilers_llvm_is_read() {
        let about = "rustc 1.97.0-nightly\nrelease: 1.97.0-nightly\nLLVM version: 22.1.4\n";
        assert_eq!(llvm_major(about), Some(22));
        assert_eq!(llvm_major("rustc 1.0"), None);
    }

    #[test]
    fn an_old_linker_is_not_used() {
        assert!(is_new_enough("bpf-linker 0.13.0\n") && is_new_enough("bpf-linker 1.0.0"));
        assert!(!is_new_enough("bpf-linker 0.9.14") && !is_new_enough("bpf-linker"));
    }

    #[test]
    fn without_a_compiler_both_ways_are_named_with_their_reasons() {
        let message = neither("there is no rustup", "that would remove your rustc");
        for part in ["rust-src", "libstd-rust-web-dev-bpf", "no rustup", "remove your rustc"] {
            assert!(message.contains(part), "{part} is missing in: {message}");
        }
    }

    #[test]
    fn debians_cargo_gets_debians_compiler() {
        let command = Compiler::Debian.cargo("build");
        assert_eq!(shell::line(&command), format!("/usr/bin/cargo build --target {BPF_TARGET}"));
        let bootstrap = command.get_envs().find(|(name, _)| *name == "RUSTC_BOOTSTRAP");
        assert_eq!(bootstrap.and_then(|(_, value)| value), Some("1".as_ref()));
    }
}
