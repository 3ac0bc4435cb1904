//! Helm, for checking and packing the chart: its library, out of a Python package, and `helm.py` that drives it.
//!
//! Not for installing anything: no cluster is ever asked. Debian has no package of Helm's program.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::pip::Wheel;
use crate::shell;

const LIBRARY: Wheel = Wheel {
    package: "helm-sdkpy",
    version: "0.1.32",
    sha256: &["bcf5bf73cacc373bebedfb9c988969aa12a9eda86a140deba658fbf28eb789c5"],
    // For x86_64 alone: there is no other in the package.
    file: "helm_sdkpy/_lib/linux-amd64/libhelm_sdkpy.so",
};
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
            "    Helm: {} has a library for x86_64 only, so the chart is not tried here",
            LIBRARY.package
        );
        return Ok(None);
    }
    LIBRARY.fetched().map(Some)
}

/// Packs the chart into `folder`; gives back the archive's path.
pub(crate) fn package(library: &Path, chart: &Path, folder: &Path) -> Result<PathBuf> {
    let mut command = Command::new("python3");
    command.arg(shell::workspace().join("xtask/helm.py")).arg(library);
    command.arg("package").arg(chart).arg(folder);
    Ok(PathBuf::from(shell::output(&mut command)?.trim()))
}
