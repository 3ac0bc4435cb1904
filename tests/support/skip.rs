//! Skipping out loud: a test that cannot run here says why, and fails where it has to run.

use std::env;
use std::io::Write as _;
use std::path::Path;

/// Says that the current test is skipped for want of `what`.
///
/// # Panics
/// When `NODEWAY_REQUIRE_PRIVILEGED=1` or `CI=true`: there a skip is a failure.
pub fn skipped(what: &str) {
    let set = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    assert!(
        !set("NODEWAY_REQUIRE_PRIVILEGED", "1") && !set("CI", "true"),
        "SKIPPED: needs {what}, and this run allows no skips"
    );
    // Past the capture of the test harness: a skip is news even when nothing fails.
    writeln!(std::io::stderr(), "SKIPPED: needs {what}").ok();
}

/// Says that the current test does not apply here, whatever is installed: no failure anywhere.
pub fn not_here(why: &str) {
    // Past the capture of the test harness.
    writeln!(std::io::stderr(), "SKIPPED: {why}").ok();
}

/// Why worlds cannot be made here, if they cannot.
#[must_use]
pub fn missing_privilege() -> Option<String> {
    // SAFETY: takes no argument and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return Some("root (network namespaces, cgroups and eBPF)".to_owned());
    }
    if crate::cgroup::root().is_none() {
        return Some("a cgroup v2 mount".to_owned());
    }
    find("ip").is_none().then(|| "`ip` (iproute2)".to_owned())
}

/// Whether the program `name` is installed; says SKIPPED if not.
#[must_use]
pub fn has(name: &str) -> bool {
    let found = find(name).is_some();
    if !found {
        skipped(&format!("`{name}`"));
    }
    found
}

fn find(name: &str) -> Option<std::path::PathBuf> {
    let path = env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin"])
        .map(|dir| Path::new(dir).join(name))
        .find(|file| file.is_file())
}
