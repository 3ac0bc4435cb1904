//! Helm, for checking and packing the chart: its library, out of a Python package, and `helm.py` that drives it.
//!
//! Not for installing anything: no cluster is ever asked. Debian has no package of Helm's program.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::packages;
use crate::shell::{self, Step};

const PACKAGE: &str = "helm-sdkpy";
const VERSION: &str = "0.1.32";
const SHA256: &str = "bcf5bf73cacc373bebedfb9c988969aa12a9eda86a140deba658fbf28eb789c5";
/// For x86_64 alone: there is no other in the package.
const LIBRARY: &str = "helm_sdkpy/_lib/linux-amd64/libhelm_sdkpy.so";
const DEBIANS_PYTHON: &str = "/usr/bin/python3";
/// By what the tests learn where the library is.
pub(crate) const LIBRARY_VARIABLE: &str = "NODEWAY_HELM_LIBRARY";

/// The library, fetched if need be; none where there is none for this machine, or it cannot be had, which is an error
/// only in a pipeline.
pub(crate) fn library() -> Result<Option<PathBuf>> {
    match fetched() {
        Err(error) if !shell::in_ci() => {
            eprintln!("warning: {error:#}\n    Helm: the chart is neither tried nor packed by it");
            Ok(None)
        }
        result => result,
    }
}

fn fetched() -> Result<Option<PathBuf>> {
    if std::env::consts::ARCH != "x86_64" {
        eprintln!(
            "    Helm: {PACKAGE} has a library for x86_64 only, so the chart is not tried here"
        );
        return Ok(None);
    }
    let folder = shell::target_dir().join(format!("tools/{PACKAGE}-{VERSION}"));
    let library = folder.join(LIBRARY);
    if library.is_file() {
        return Ok(Some(library));
    }
    let python = match python_with_pip() {
        Some(python) => python,
        None => {
            packages::ensure(&[packages::PYTHON3, packages::PIP], "fetching Helm")?;
            DEBIANS_PYTHON
        }
    };
    let step = Step::start(format!("Fetching Helm's library ({PACKAGE} {VERSION})"));
    // Into its place in one step: what is there is whole.
    let half = folder.with_extension("half");
    fetch(python, &half).with_context(|| format!("{PACKAGE} {VERSION} could not be fetched"))?;
    if !half.join(LIBRARY).is_file() {
        bail!("{PACKAGE} {VERSION} has no {LIBRARY}");
    }
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::rename(&half, &folder)
        .with_context(|| format!("cannot rename {} to {}", half.display(), folder.display()))?;
    step.done();
    Ok(Some(library))
}

/// Packs the chart into `folder`; gives back the archive's path.
pub(crate) fn package(library: &Path, chart: &Path, folder: &Path) -> Result<PathBuf> {
    let mut command = Command::new("python3");
    command.arg(shell::workspace().join("xtask/helm.py")).arg(library);
    command.arg("package").arg(chart).arg(folder);
    Ok(PathBuf::from(shell::output(&mut command)?.trim()))
}

/// Another Python on PATH than the system's may have no pip.
fn python_with_pip() -> Option<&'static str> {
    let has_pip = |python: &&str| {
        shell::output(Command::new(python).args(["-m", "pip", "--version"])).is_ok()
    };
    ["python3", DEBIANS_PYTHON].into_iter().find(has_pip)
}

fn fetch(python: &str, folder: &Path) -> Result<()> {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let wanted = folder.join("requirements.txt");
    std::fs::write(&wanted, format!("{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n"))
        .with_context(|| format!("cannot write {}", wanted.display()))?;
    // The library is used without the package's Python code, whose wish for a newer Python does not count.
    let mut download = Command::new(python);
    download
        .args(["-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"])
        .args(["--only-binary=:all:", "--python-version=3.12", "--require-hashes"])
        .arg("--requirement")
        .arg(&wanted)
        .arg("--dest")
        .arg(folder);
    shell::run(&mut download)?;
    let wheel = folder.join(format!("{}-{VERSION}-py3-none-any.whl", PACKAGE.replace('-', "_")));
    let mut unpack = Command::new(python);
    shell::run(unpack.args(["-m", "zipfile", "--extract"]).arg(&wheel).arg(folder))?;
    std::fs::remove_file(&wheel).with_context(|| format!("cannot remove {}", wheel.display()))
}
