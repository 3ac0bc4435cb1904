//! What the other machine is made of, out of Debian's packages: unpacked below target/tools, not installed. So nothing
//! on this machine changes, and a QEMU that would not go with what is installed does no harm.
//!
//! Not for putting it together: see `image` and `machine`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::packages;
use crate::shell::{self, Step};

/// Depends on the newest kernel of the series that this Debian release carries: 6.1 in Debian 12.
const KERNEL: &str = "linux-image-cloud-amd64";
const QEMU: &str = "qemu-system-x86";
const BUSYBOX: &str = "busybox-static";
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];

/// A kernel and its modules.
pub(super) struct Kernel {
    /// As `uname -r` tells it.
    pub(super) release: String,
    pub(super) image: PathBuf,
    modules: PathBuf,
}

/// The machine's emulator, ready for its arguments.
pub(super) struct Qemu {
    program: PathBuf,
    /// Where it is unpacked; none where it is installed.
    unpacked: Option<PathBuf>,
}

// === impl Kernel ===

impl Kernel {
    /// The file of a module, by its path among the modules without `.ko`.
    pub(super) fn module(&self, path: &str) -> Result<PathBuf> {
        let file = self.modules.join("kernel").join(format!("{path}.ko"));
        file.canonicalize().with_context(|| format!("Linux {} has no {path}", self.release))
    }
}

// === impl Qemu ===

impl Qemu {
    pub(super) fn arguments(&self) -> (&Path, Vec<String>) {
        let data = self.unpacked.iter().flat_map(|root| {
            let folder = |name: &str| root.join("usr/share").join(name).display().to_string();
            ["-L".into(), folder("qemu"), "-L".into(), folder("seabios")]
        });
        (&self.program, data.collect())
    }

    /// Its own libraries, before the machine's.
    pub(super) fn library_path(&self) -> Option<String> {
        let root = self.unpacked.as_ref()?;
        Some(LIBRARIES.map(|folder| root.join(folder).display().to_string()).join(":"))
    }
}

pub(super) fn kernel() -> Result<Kernel> {
    let about = show(KERNEL)?;
    let package = depends_on_image(&about)
        .with_context(|| format!("Debian's package {KERNEL} depends on no kernel"))?;
    let release = package.trim_start_matches("linux-image-").to_owned();
    let root = unpacked(&package, || Ok(vec![package.clone()]))?;
    let image = root.join(format!("boot/vmlinuz-{release}"));
    let modules = root.join("lib/modules").join(&release);
    if !image.is_file() || !modules.is_dir() {
        bail!("Debian's package {package} has no kernel in the places where it should be");
    }
    Ok(Kernel { release, image, modules })
}

pub(super) fn qemu() -> Result<Qemu> {
    if let Some(program) = shell::which("qemu-system-x86_64") {
        return Ok(Qemu { program, unpacked: None });
    }
    let root = unpacked(QEMU, || would_install(QEMU))?;
    let qemu = Qemu { program: root.join("usr/bin/qemu-system-x86_64"), unpacked: Some(root) };
    let mut version = Command::new(&qemu.program);
    version.arg("--version").envs(qemu.library_path().map(|path| ("LD_LIBRARY_PATH", path)));
    shell::output(&mut version).context("Debian's QEMU does not run here")?;
    Ok(qemu)
}

/// The programs of a small system, in one file that needs nothing else.
pub(super) fn busybox() -> Result<PathBuf> {
    let root = unpacked(BUSYBOX, || Ok(vec![BUSYBOX.to_owned()]))?;
    let places = ["bin/busybox", "usr/bin/busybox"].map(|place| root.join(place));
    let found = places.into_iter().find(|file| file.is_file());
    found.context("Debian's package of busybox has no busybox")
}

/// The folder into which these packages are unpacked, fetched if need be.
fn unpacked(name: &str, wanted: impl FnOnce() -> Result<Vec<String>>) -> Result<PathBuf> {
    let folder = shell::target_dir().join("tools").join(name);
    if folder.is_dir() {
        return Ok(folder);
    }
    show(name)?;
    let wanted = wanted()?;
    let step =
        Step::start(format!("Fetching Debian's {name}, to be unpacked into {}", folder.display()));
    // Into its place in one step: what is there is whole.
    let half = folder.with_file_name(format!("{name}.half"));
    let archives = half.join("archives");
    let _ = std::fs::remove_dir_all(&half);
    std::fs::create_dir_all(&archives)
        .with_context(|| format!("cannot make {}", archives.display()))?;
    download(&wanted, &archives)?;
    let entries = std::fs::read_dir(&archives)
        .with_context(|| format!("cannot read {}", archives.display()))?;
    for archive in entries {
        let archive =
            archive.with_context(|| format!("cannot read {}", archives.display()))?.path();
        shell::run(Command::new("dpkg").arg("-x").arg(archive).arg(&half))?;
    }
    std::fs::remove_dir_all(&archives)
        .with_context(|| format!("cannot remove {}", archives.display()))?;
    std::fs::rename(&half, &folder)
        .with_context(|| format!("cannot rename {} to {}", half.display(), folder.display()))?;
    step.done();
    Ok(folder)
}

fn download(packages: &[String], into: &Path) -> Result<()> {
    let fetch = || {
        let mut command = apt("apt-get");
        // Root's apt would fetch as another user, who may not write here: it says so, and does it itself.
        command.args(["-qq", "-o", "APT::Sandbox::User=root", "download"]).args(packages);
        shell::output(command.current_dir(into))
    };
    if fetch().is_err() {
        // The lists may name versions that the mirror has replaced since.
        packages::update()?;
        fetch()?;
    }
    Ok(())
}

/// What Debian's record says of a package, in its newest version.
fn show(package: &str) -> Result<String> {
    if shell::which("apt-get").is_none() {
        bail!("`vmtest` takes Debian's {package}, and there is no apt-get here");
    }
    let ask = || shell::output(apt("apt-cache").args(["show", "--no-all-versions", package]));
    match ask() {
        Ok(about) if !about.trim().is_empty() => Ok(about),
        // A fresh machine has no package lists.
        _ => {
            packages::update()?;
            ask().with_context(|| format!("apt-get knows no package {package}"))
        }
    }
}

/// A package, and all of what it needs that is not installed, each with its version.
fn would_install(package: &str) -> Result<Vec<String>> {
    let mut command = apt("apt-get");
    command.args(["--simulate", "--no-install-recommends", "install", package]);
    let plan = shell::output(&mut command)?;
    Ok(installs(&plan))
}

/// Debian's messages are translated; we read them.
fn apt(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("LC_ALL", "C");
    command
}

/// `Depends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)`
fn depends_on_image(about: &str) -> Option<String> {
    let depends = about.lines().find_map(|line| line.strip_prefix("Depends: "))?;
    let mut packages = depends.split(',').filter_map(|one| one.split_whitespace().next());
    packages.find(|package| package.starts_with("linux-image-")).map(str::to_owned)
}

/// `Inst NAME [installed version] (version origin [architecture])`, one a line of a simulation.
fn installs(plan: &str) -> Vec<String> {
    let lines = plan.lines().filter_map(|line| line.strip_prefix("Inst "));
    let packages = lines.filter_map(|line| {
        let name = line.split_whitespace().next()?;
        let version = line.split_once('(')?.1.split_whitespace().next()?;
        Some(format!("{name}={version}"))
    });
    packages.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_the_one_that_the_metapackage_depends_on() {
        let about = "Package: linux-image-cloud-amd64\nVersion: 6.1.192-2\n\
            Depends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)\n";
        assert_eq!(depends_on_image(about).as_deref(), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(depends_on_image("Package: x\nDepends: libc6\n"), None);
    }

    #[test]
    fn what_would_be_installed_is_fetched_in_its_version() {
        let plan = "Remv qemu-utils [1:10.0.2]\n\
            Inst libfdt1 (1.6.1-4+b1 Debian:12.15/oldstable [amd64])\n\
            Inst libssl3 [3.0.15] (3.0.17 Debian-Security:12/oldstable-security [amd64])\n\
            Conf libfdt1 (1.6.1-4+b1 Debian:12.15/oldstable [amd64])\n";
        assert_eq!(installs(plan), ["libfdt1=1.6.1-4+b1", "libssl3=3.0.17"]);
    }
}
