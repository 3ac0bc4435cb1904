//! `dist`: the release binary, licence and README in one tarball, with its SHA-256.
//!
//! Not for images or charts yet.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::build::{self, Profile};
use crate::shell::{self, Step};

pub(crate) fn main() -> Result<ExitCode> {
    let texts = ["LICENSE", "README.md"].map(|file| shell::workspace().join(file));
    if let Some(missing) = texts.iter().find(|file| !file.is_file()) {
        bail!("{} is missing and belongs into the tarball", missing.display());
    }
    let binary = build::nodeway(Profile::Release)?;
    let name = format!("nodeway-{}-{}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let step = Step::start(format!("Packing {name}"));
    let dist = shell::target_dir().join("dist");
    let folder = dist.join(&name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot clear {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    copy(&binary, &folder)?;
    for file in &texts {
        copy(file, &folder)?;
    }
    let tarball = pack(&dist, &name)?;
    std::fs::remove_dir_all(&folder)
        .with_context(|| format!("cannot clear {}", folder.display()))?;
    step.done();
    // "<sum>  <path>": what `sha256sum --check` reads.
    print!("{}", shell::output(Command::new("sha256sum").arg(&tarball))?);
    Ok(ExitCode::SUCCESS)
}

fn copy(file: &Path, folder: &Path) -> Result<()> {
    let to = folder.join(file.file_name().unwrap_or_default());
    std::fs::copy(file, &to)
        .with_context(|| format!("cannot copy {} to {}", file.display(), to.display()))?;
    Ok(())
}

/// The same files give the same bytes: sorted, nobody's, dated by the commit.
fn pack(dist: &Path, name: &str) -> Result<PathBuf> {
    let tarball = dist.join(format!("{name}.tar.gz"));
    let mut date = Command::new("git");
    date.current_dir(shell::workspace()).args(["log", "-1", "--format=%ct"]);
    // Outside of a git checkout any fixed date will do.
    let date = shell::output(&mut date).unwrap_or_else(|_| "0".into());
    let mut tar = Command::new("tar");
    tar.current_dir(dist)
        .args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u+rw,go=rX"])
        .arg(format!("--mtime=@{}", date.trim()))
        .args(["--use-compress-program=gzip -n", "--create", "--file"])
        .arg(&tarball)
        .arg(name);
    shell::run(&mut tar)?;
    Ok(tarball)
}
