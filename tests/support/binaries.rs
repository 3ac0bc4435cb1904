//! Where the programs under test are: told by `cargo xtask`, else beside the running one.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The `nodeway` binary.
///
/// # Panics
/// When it is not built.
#[must_use]
pub fn nodeway() -> PathBuf {
    locate("NODEWAY_BIN", "nodeway")
}

/// The server that runs in pods.
///
/// # Panics
/// When it is not built.
#[must_use]
pub fn testserver() -> PathBuf {
    locate("TESTSERVER_BIN", "testserver")
}

/// The real Python behind any shim of a version manager.
///
/// # Panics
/// When there is none.
pub fn python() -> &'static PathBuf {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let mut ask = Command::new("python3");
        let said = ask.args(["-c", "import sys; print(sys.executable)"]).output();
        let said = said.expect("`python3` starts");
        PathBuf::from(String::from_utf8_lossy(&said.stdout).trim())
    })
}

fn locate(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = env::var_os(variable) {
        return PathBuf::from(path);
    }
    let here = env::current_exe().expect("our own path");
    // target/<profile>/demo, target/<profile>/deps/e2e-<hash>, or another profile's folder.
    let beside = here.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    let profiles = ["test-release", "release", "debug"];
    let others = here
        .ancestors()
        .filter(|folder| folder.ends_with("target"))
        .flat_map(|target| profiles.map(|profile| target.join(profile).join(name)));
    let found = beside.chain(others).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("no `{name}` beside {}: build it, or set {variable}", here.display())
    })
}
