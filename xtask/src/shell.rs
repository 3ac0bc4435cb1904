//! Running other programs: with progress, with errors that name the command line, with a clean
//! environment, as root where that is needed.
//!
//! Not for deciding what to run: each task does that itself.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// What cargo puts between a compiler's flags, which may themselves hold blanks.
pub(crate) const SEPARATOR: &str = "\x1f";

/// A long step: says what it is at its start, and what it took at its end.
pub(crate) struct Step {
    name: String,
    started: Instant,
}

impl Step {
    pub(crate) fn start(name: impl Into<String>) -> Self {
        let name = name.into();
        eprintln!("==> {name}");
        Self { name, started: Instant::now() }
    }

    /// Shows the command line too, for those who want to run only that again.
    pub(crate) fn of(name: impl Into<String>, command: &Command) -> Self {
        let step = Self::start(name);
        eprintln!("    {}", line(command));
        step
    }

    pub(crate) fn done(self) {
        eprintln!("    {}: {:.1} s", self.name, self.started.elapsed().as_secs_f64());
    }
}

/// The workspace's root, whatever the current folder.
pub(crate) fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        // Cargo takes a relative one from the current folder.
        Some(dir) if !dir.is_empty() => {
            std::path::absolute(&dir).unwrap_or_else(|_| PathBuf::from(dir))
        }
        _ => workspace().join("target"),
    }
}

/// The cargo that runs us, in the workspace, without what it set for us alone.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_about_this_package) {
            command.env_remove(name);
        }
    }
    command
}

/// Takes away everything that ties a compiler to the one that runs us.
pub(crate) fn without_toolchain(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|n| is_about_this_package(n) || is_about_the_toolchain(n)) {
            command.env_remove(name);
        }
    }
    command
}

/// Set by `cargo run` for the program it runs, that is for us.
fn is_about_this_package(name: &str) -> bool {
    name.starts_with("CARGO_PKG_")
        || name.starts_with("CARGO_MANIFEST_")
        || matches!(name, "CARGO_BIN_NAME" | "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE")
}

/// What would make another cargo use this toolchain, or this host's flags. Where cargo keeps its
/// downloads, its proxies and its registries is the user's business and stays.
fn is_about_the_toolchain(name: &str) -> bool {
    name.starts_with("CARGO_BUILD_")
        || name.starts_with("CARGO_PROFILE_")
        || name.starts_with("CARGO_UNSTABLE_")
        || (name.starts_with("CARGO_TARGET_") && name != "CARGO_TARGET_DIR")
        || matches!(
            name,
            "CARGO"
                | "CARGO_ENCODED_RUSTFLAGS"
                | "CARGO_ENCODED_RUSTDOCFLAGS"
                | "CARGO_INCREMENTAL"
                | "RUSTC"
                | "RUSTC_BOOTSTRAP"
                | "RUSTC_WORKSPACE_WRAPPER"
                | "RUSTC_WRAPPER"
                | "RUSTDOC"
                | "RUSTDOCFLAGS"
                | "RUSTFLAGS"
                | "RUSTUP_TOOLCHAIN"
                | "RUST_RECURSION_COUNT"
                // `cargo run` puts this toolchain's libraries first, its LLVM among them.
                | "LD_LIBRARY_PATH"
        )
}

/// Runs to the end with our own stdout and stderr; anything but success is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot start `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` ended with {status}", line(command));
    }
    Ok(())
}

/// Runs to the end and gives back what it printed; its stderr is part of the error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", line(command)))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` ended with {}\n{}", line(command), output.status, stderr.trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The command line as one would type it.
pub(crate) fn line(command: &Command) -> String {
    // Our cargo is an absolute path into a toolchain: nobody types that.
    let ours = std::env::var_os("CARGO").is_some_and(|cargo| cargo == command.get_program());
    let program = if ours { OsStr::new("cargo") } else { command.get_program() };
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Finds a program on PATH, or where only root's PATH looks (nginx, haproxy and ip live there).
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let roots = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(roots)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

pub(crate) fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    effective_uid(&status) == Some(0)
}

/// `Uid:` lists the real, effective, saved and file-system user.
fn effective_uid(status: &str) -> Option<u32> {
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    uids.split_whitespace().nth(1)?.parse().ok()
}

/// A command that runs as root: itself if we are root, else through sudo, which may ask for a
/// password. `keep` names the environment variables that must reach it.
pub(crate) fn as_root(program: impl AsRef<OsStr>, keep: &[&str]) -> Result<Command> {
    if is_root() {
        return Ok(Command::new(program));
    }
    let Some(sudo) = which("sudo") else {
        bail!(
            "this needs root (network namespaces, eBPF or apt-get), and there is no sudo: run \
             the same command as root"
        );
    };
    let mut command = Command::new(sudo);
    if !keep.is_empty() {
        command.arg(format!("--preserve-env={}", keep.join(",")));
    }
    command.arg(program);
    Ok(command)
}

/// In a pipeline nothing may be skipped for want of a tool.
pub(crate) fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_toolchain_inherits_nothing_of_ours() {
        for name in [
            "RUSTUP_TOOLCHAIN",
            "CARGO",
            "RUSTC",
            "RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER",
            "LD_LIBRARY_PATH",
        ] {
            assert!(is_about_the_toolchain(name), "{name} must go");
        }
    }

    #[test]
    fn the_users_cargo_settings_stay() {
        for name in ["CARGO_HOME", "CARGO_NET_OFFLINE", "CARGO_HTTP_PROXY", "CARGO_TARGET_DIR"] {
            assert!(!is_about_the_toolchain(name) && !is_about_this_package(name), "{name}");
        }
    }

    #[test]
    fn the_effective_user_decides() {
        assert_eq!(effective_uid("Name:\tx\nUid:\t1000\t0\t0\t0\n"), Some(0));
        assert_eq!(effective_uid("Uid:\t0\t1000\t0\t0\n"), Some(1000));
        assert_eq!(effective_uid(""), None);
    }

    #[test]
    fn a_printed_command_can_be_pasted() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo 'hi'", ""]);
        assert_eq!(line(&command), r"sh -c 'echo '\''hi'\''' ''");
    }
}
