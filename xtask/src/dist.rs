//! `dist`: all that a release consists of, in target/dist: the static binary in a tarball and in an image, the
//! manifests and the chart that install it, and their SHA-256.
//!
//! Not for handing them to anybody: nothing is pushed or published.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::arch::Arch;
use crate::build::{self, Profile};
use crate::shell::{self, Step};
use crate::{helm, packages, pgo};

mod image;

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(clap::Args)]
pub(crate) struct Args {
    /// For which processors [default: this host's].
    #[arg(long, value_enum)]
    arch: Option<Arch>,
    /// Quicker to build and slower to run: for trying the packaging.
    #[arg(long)]
    quick: bool,
}

pub(crate) fn main(args: &Args) -> Result<ExitCode> {
    let texts = ["LICENSE", "README.md"].map(|file| shell::workspace().join(file));
    if let Some(missing) = texts.iter().find(|file| !file.is_file()) {
        bail!("{} is missing and belongs into the tarball", missing.display());
    }
    let arch = args.arch.map_or_else(Arch::host, Ok)?;
    let needed = [packages::BUILDAH, packages::CA_CERTIFICATES, packages::KUBECTL];
    packages::ensure(&needed, "making a release")?;
    let binary = match args.quick {
        true => build::static_nodeway(Profile::TestRelease, arch, &[], None)?,
        false if arch.is_host() => pgo::nodeway()?,
        false => build::static_nodeway(Profile::Release, arch, &[], None)?,
    };
    let dist = shell::target_dir().join("dist");
    make_folder(&dist)?;
    if arch.is_host() {
        runs_alone(&binary, &dist)?;
    }
    let date = commit_date();
    let made = [
        tarball(&dist, &binary, &texts, arch, &date)?,
        image::make(&dist, &binary, arch, &date)?,
        manifests(&dist)?,
        chart(&dist, &date)?,
    ];
    // "<sum>  <file>": what `sha256sum --check` reads.
    let names = made.iter().filter_map(|path| path.file_name());
    let sums = shell::output(Command::new("sha256sum").current_dir(&dist).args(names))?;
    let list = dist.join(format!("nodeway-{VERSION}-{}.sha256", arch.oci()));
    std::fs::write(&list, &sums).with_context(|| format!("cannot write {}", list.display()))?;
    println!("in {}:\n{sums}", dist.display());
    Ok(ExitCode::SUCCESS)
}

/// No other program and no library is in the image: it has to start where there is nothing else.
fn runs_alone(binary: &Path, dist: &Path) -> Result<()> {
    let step = Step::start("Starting it with nothing around it");
    let root = dist.join("empty-root");
    make_empty(&root)?;
    copy(binary, &root)?;
    let mut alone = Command::new("unshare");
    if !shell::is_root() {
        alone.arg("--map-root-user");
    }
    alone.arg("--root").arg(&root).args(["/nodeway", "--version"]);
    let said = shell::output(&mut alone).context("the binary does not run alone")?;
    if said.trim() != format!("nodeway {VERSION}") {
        bail!("the binary is not nodeway {VERSION}, it says: {said}");
    }
    remove(&root)?;
    step.done();
    Ok(())
}

fn tarball(
    dist: &Path,
    binary: &Path,
    texts: &[PathBuf],
    arch: Arch,
    date: &str,
) -> Result<PathBuf> {
    let name = format!("nodeway-{VERSION}-{}", arch.rust());
    let step = Step::start(format!("Packing {name}"));
    let folder = dist.join(&name);
    make_empty(&folder)?;
    copy(binary, &folder)?;
    for file in texts {
        copy(file, &folder)?;
    }
    let tarball = dist.join(format!("{name}.tar.gz"));
    shell::run(gzipped(&mut tar(dist, date, &tarball)).arg(&name))?;
    remove(&folder)?;
    step.done();
    Ok(tarball)
}

/// What `kubectl apply -f` takes.
fn manifests(dist: &Path) -> Result<PathBuf> {
    let step = Step::start("Rendering deploy/kustomize");
    let mut kubectl = Command::new("kubectl");
    kubectl.arg("kustomize").arg(shell::workspace().join("deploy/kustomize"));
    let rendered = shell::output(&mut kubectl)?;
    let image = format!("image: {}", image::name());
    if !rendered.contains(&image) {
        bail!("deploy/kustomize has no `{image}`: its tag is not this version's");
    }
    let file = dist.join(format!("nodeway-{VERSION}.yaml"));
    std::fs::write(&file, rendered).with_context(|| format!("cannot write {}", file.display()))?;
    step.done();
    Ok(file)
}

/// What `helm install` takes.
fn chart(dist: &Path, date: &str) -> Result<PathBuf> {
    let step = Step::start("Packing deploy/chart");
    let chart = shell::workspace().join("deploy/chart");
    let archive = dist.join(format!("nodeway-{VERSION}.tgz"));
    match helm::library()? {
        Some(library) => {
            let made = helm::package(&library, &chart, dist)?;
            if made != archive {
                bail!("Helm has packed {}, expected was {}", made.display(), archive.display());
            }
        }
        // Helm's own layout: one folder of the chart's name.
        None => {
            let mut command = tar(&shell::workspace(), date, &archive);
            command.args(["--exclude=.helmignore", "--transform=s,^deploy/chart,nodeway,"]);
            shell::run(gzipped(&mut command).arg("deploy/chart"))?;
        }
    }
    step.done();
    Ok(archive)
}

/// When the checked-out commit was made, in seconds: what is built from it is not younger.
fn commit_date() -> String {
    let mut date = Command::new("git");
    date.current_dir(shell::workspace()).args(["log", "-1", "--format=%ct"]);
    // Outside of a git checkout any fixed date will do.
    shell::output(&mut date).map_or_else(|_| "0".into(), |date| date.trim().to_owned())
}

/// The same files give the same bytes: sorted, nobody's, dated by the commit.
fn tar(from: &Path, date: &str, archive: &Path) -> Command {
    let mut tar = Command::new("tar");
    tar.current_dir(from)
        .args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u+rw,go=rX"])
        .arg(format!("--mtime=@{date}"))
        .args(["--create", "--file"])
        .arg(archive);
    tar
}

fn gzipped(tar: &mut Command) -> &mut Command {
    tar.arg("--use-compress-program=gzip -n")
}

fn copy(file: &Path, folder: &Path) -> Result<()> {
    let to = folder.join(file.file_name().unwrap_or_default());
    std::fs::copy(file, &to)
        .with_context(|| format!("cannot copy {} to {}", file.display(), to.display()))?;
    Ok(())
}

fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

fn make_empty(folder: &Path) -> Result<()> {
    remove(folder)?;
    make_folder(folder)
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}
