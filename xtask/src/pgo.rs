//! The binary that is shipped: built so that it counts what it does, put to work, and built again for that work
//! (profile-guided optimisation, as "The rustc book" and LLVM's `llvm-profdata` describe it).
//!
//! Not for other architectures than this machine's: for what cannot be put to work here there is no profile.

use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::arch::Arch;
use crate::build::{self, Profile};
use crate::shell::{self, Step};
use crate::{bench, toolchain};

/// What a profile's file ends with.
const PROFILE: &str = "profdata";

/// The `nodeway` that a release has for this machine's architecture. What has not changed since the last time is
/// neither built nor put to work again.
pub(crate) fn nodeway() -> Result<PathBuf> {
    let home = home();
    let profile = profile(&home)?;
    optimised(&home, &profile)
}

/// The same by the profile of an earlier time, if there is one, and without one if there is none: quick to be had, and
/// nearly what is shipped.
pub(crate) fn nodeway_by_what_is_there() -> Result<PathBuf> {
    let home = home();
    match profiles(&home).into_iter().next() {
        Some(profile) => optimised(&home, &profile),
        None => build::static_nodeway(Profile::Release, Arch::host()?, &[], None),
    }
}

/// Where all of it lies.
fn home() -> PathBuf {
    shell::target_dir().join("pgo")
}

/// The profile of the code as it is.
fn profile(home: &Path) -> Result<PathBuf> {
    let profdata = toolchain::profdata()?;
    let raw = home.join("raw");
    let counting = [format!("-Cprofile-generate={}", raw.display())];
    let counting = build::static_nodeway(Profile::Release, Arch::host()?, &counting, None)?;
    let profile = home.join(format!("{}.{PROFILE}", fingerprint(&counting)?));
    if profile.is_file() {
        return Ok(profile);
    }
    remove(&raw)?;
    bench::train(&counting)?;
    let step = Step::start("Reading what it has counted");
    // What was built by another profile is of no use any more: all of it would be built again beside it.
    remove(&built(home))?;
    for old in profiles(home) {
        std::fs::remove_file(&old).with_context(|| format!("cannot remove {}", old.display()))?;
    }
    // Under its name it is whole.
    let part = home.join("part");
    let mut merge = Command::new(profdata);
    merge.arg("merge").arg("--output").arg(&part).arg(&raw);
    shell::output(&mut merge).context("there is no profile: has it been killed?")?;
    std::fs::rename(&part, &profile)
        .with_context(|| format!("cannot make {}", profile.display()))?;
    remove(&raw)?;
    step.done();
    Ok(profile)
}

fn optimised(home: &Path, profile: &Path) -> Result<PathBuf> {
    let flags = [format!("-Cprofile-use={}", profile.display())];
    build::static_nodeway(Profile::Release, Arch::host()?, &flags, Some(&built(home)))
}

/// Where what is built by a profile lies: apart, so that it can be taken away with it.
fn built(home: &Path) -> PathBuf {
    home.join("build")
}

fn profiles(home: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(home).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path());
    files.filter(|file| file.extension().is_some_and(|extension| extension == PROFILE)).collect()
}

/// The same for the same file, and another for another.
fn fingerprint(file: &Path) -> Result<String> {
    let octets = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    // Always with the same keys.
    let mut hasher = DefaultHasher::new();
    hasher.write(&octets);
    Ok(format!("{:016x}", hasher.finish()))
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_of_one_binary_and_is_found_again() {
        let folder = std::env::temp_dir().join(format!("xtask-pgo-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let [one, same, other] = ["one", "same", "other"].map(|name| folder.join(name));
        for (file, text) in [(&one, "code"), (&same, "code"), (&other, "other code")] {
            std::fs::write(file, text).unwrap();
        }
        let print = |file| fingerprint(file).unwrap();
        assert_eq!(print(&one), print(&same));
        assert_ne!(print(&one), print(&other));
        assert!(profiles(&folder).is_empty());
        let profile = folder.join(format!("{}.{PROFILE}", print(&one)));
        std::fs::write(&profile, "counts").unwrap();
        assert_eq!(profiles(&folder), [profile]);
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(profiles(&folder).is_empty());
    }
}
