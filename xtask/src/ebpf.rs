//! Builds the eBPF programs into one object at a place that does not move: `target/bpf/nodeway.bpf.o`.
//!
//! Not for loading them: the proxy does.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell::{self, SEPARATOR, Step};
use crate::toolchain::{self, BPF_TARGET, Compiler};

/// The environment variable by which the proxy's build script learns where the object is.
pub(crate) const OBJECT_VARIABLE: &str = "NODEWAY_BPF_OBJECT";

/// Where the object for this host is or will be.
pub(crate) fn object_path() -> PathBuf {
    shell::target_dir().join("bpf/nodeway.bpf.o")
}

/// Compiles and links for this host; gives back the object's path.
pub(crate) fn build() -> Result<PathBuf> {
    build_for(std::env::consts::ARCH, object_path())
}

/// The same for `arch`, as Rust names it. An unchanged object keeps its time stamp, so that the proxy is
/// not linked again for nothing.
pub(crate) fn build_for(arch: &str, object: PathBuf) -> Result<PathBuf> {
    let compiler = toolchain::compiler()?;
    let linker = toolchain::linker()?;
    let step = Step::start(format!("Building the eBPF programs with {}", compiler.name()));
    let mut command = cargo(&compiler, arch, "build", Some(&linker));
    shell::run(&mut command).with_context(|| {
        format!(
            "the eBPF programs could not be built with {} and {}",
            compiler.name(),
            linker.display()
        )
    })?;
    let built = build_dir().join(BPF_TARGET).join("release/nodeway-bpf");
    copy_if_changed(&built, &object)?;
    step.done();
    Ok(object)
}

/// Type-checks the programs for their target, warnings as errors; needs no linker.
pub(crate) fn check(compiler: &Compiler) -> Result<()> {
    let step = Step::start(format!("Checking the eBPF programs with {}", compiler.name()));
    shell::run(&mut cargo(compiler, std::env::consts::ARCH, "check", None))?;
    step.done();
    Ok(())
}

fn build_dir() -> PathBuf {
    // Its own: another compiler in the host's target folder would rebuild everything each time.
    shell::target_dir().join("bpf-build")
}

fn cargo(compiler: &Compiler, arch: &str, subcommand: &str, linker: Option<&Path>) -> Command {
    let mut command = compiler.cargo(subcommand);
    command
        .args(["--quiet", "--release", "--package", "nodeway-ebpf", "--bin", "nodeway-bpf"])
        .args(["--features", "programs", "--target-dir"])
        .arg(build_dir())
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(arch, linker));
    command
}

fn rustflags(arch: &str, linker: Option<&Path>) -> String {
    let mut flags = vec![format!("--cfg=bpf_target_arch=\"{arch}\"")];
    match linker {
        Some(linker) => flags.extend([
            format!("-Clinker={}", linker.display()),
            // BTF is made from the debug information: the kernel's verifier and bpftool show it.
            "-Cdebuginfo=2".into(),
            "-Clink-arg=--btf".into(),
        ]),
        None => flags.push("-Dwarnings".into()),
    }
    flags.join(SEPARATOR)
}

fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let new = std::fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if std::fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
    }
    std::fs::write(to, new).with_context(|| format!("cannot write {}", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unchanged_object_keeps_its_time_stamp() {
        let folder = std::env::temp_dir().join(format!("xtask-ebpf-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (from, to) = (folder.join("from"), folder.join("deep/to"));
        std::fs::write(&from, "object").unwrap();
        copy_if_changed(&from, &to).unwrap();
        let before = std::fs::metadata(&to).unwrap().modified().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        copy_if_changed(&from, &to).unwrap();
        assert_eq!(std::fs::metadata(&to).unwrap().modified().unwrap(), before);
        std::fs::write(&from, "another").unwrap();
        copy_if_changed(&from, &to).unwrap();
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "another");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn flags_with_blanks_stay_whole() {
        let flags = rustflags("x86_64", Some(Path::new("/a folder/bpf-linker")));
        let flags: Vec<_> = flags.split(SEPARATOR).collect();
        assert!(flags.contains(&"-Clinker=/a folder/bpf-linker"));
        assert!(flags.contains(&"-Clink-arg=--btf"));
    }
}
