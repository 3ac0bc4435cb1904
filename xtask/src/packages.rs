//! What the machine must have installed: finds what is missing and installs it by apt-get.
//!
//! Not for compilers: `toolchain` decides which of those are wanted.
//! A package counts as there when what we need of it is there, wherever it came from.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell::{self, Step};

/// A Debian package, and how to see that what it brings is already here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) sign: Sign,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Sign {
    /// A program that is found on PATH.
    Program(&'static str),
    /// A file or folder at a fixed place.
    Path(&'static str),
}

const fn program(name: &'static str, program: &'static str) -> Package {
    Package { name, sign: Sign::Program(program) }
}

const fn path(name: &'static str, path: &'static str) -> Package {
    Package { name, sign: Sign::Path(path) }
}

pub(crate) const CURL: Package = program("curl", "curl");
pub(crate) const IPROUTE2: Package = program("iproute2", "ip");
pub(crate) const IPTABLES: Package = program("iptables", "iptables");
pub(crate) const PYTHON3: Package = program("python3", "python3");
pub(crate) const OPENSSL: Package = program("openssl", "openssl");
pub(crate) const H2LOAD: Package = program("nghttp2-client", "h2load");
pub(crate) const REDIS: Package = program("redis-server", "redis-server");
pub(crate) const REDIS_TOOLS: Package = program("redis-tools", "redis-cli");
pub(crate) const HAPROXY: Package = program("haproxy", "haproxy");
pub(crate) const NGINX: Package = program("nginx", "nginx");
pub(crate) const WRK: Package = program("wrk", "wrk");
pub(crate) const CC: Package = program("build-essential", "cc");
pub(crate) const CXX: Package = program("build-essential", "c++");
pub(crate) const GCC_AMD64: Package = program("gcc-x86-64-linux-gnu", "x86_64-linux-gnu-gcc");
pub(crate) const GCC_ARM64: Package = program("gcc-aarch64-linux-gnu", "aarch64-linux-gnu-gcc");
pub(crate) const LIBC_AMD64: Package =
    path("libc6-dev-amd64-cross", "/usr/x86_64-linux-gnu/lib/libc.a");
pub(crate) const LIBC_ARM64: Package =
    path("libc6-dev-arm64-cross", "/usr/aarch64-linux-gnu/lib/libc.a");
pub(crate) const BUILDAH: Package = program("buildah", "buildah");
/// As its own scripts make it of what this machine believes in.
pub(crate) const CA_CERTIFICATES: Package = path("ca-certificates", CA_BUNDLE);
/// All of them in one file.
pub(crate) const CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
pub(crate) const KUBECTL: Package = program("kubernetes-client", "kubectl");
/// For Debian's own Python, whatever other one is on PATH.
pub(crate) const PIP: Package = path("python3-pip", "/usr/lib/python3/dist-packages/pip");
pub(crate) const LLVM_22: Package = path("llvm-22-dev", "/usr/lib/llvm-22/bin/llvm-config");
pub(crate) const POLLY_22: Package = path("libpolly-22-dev", "/usr/lib/llvm-22/lib/libPolly.a");
/// Debian's backports of the compiler, and `core` built for BPF.
/// Other packages bring a `/usr/bin/rustc` too, so dpkg's own record is the sign.
pub(crate) const RUSTC_WEB: Package = path("rustc-web", "/var/lib/dpkg/info/rustc-web.list");
pub(crate) const CARGO_WEB: Package = path("cargo-web", "/var/lib/dpkg/info/cargo-web.list");
pub(crate) const CORE_FOR_BPF: Package =
    path("libstd-rust-web-dev-bpf", "/usr/lib/rustlib/bpfel-unknown-none/lib");

impl Package {
    pub(crate) fn is_here(&self) -> bool {
        match self.sign {
            Sign::Program(program) => shell::which(program).is_some(),
            Sign::Path(path) => Path::new(path).exists(),
        }
    }
}

/// Installs what is missing of `wanted`; `why` stands in what is said about it.
pub(crate) fn ensure(wanted: &[Package], why: &str) -> Result<()> {
    let missing = missing(wanted, Package::is_here);
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if shell::which("apt-get").is_none() {
        bail!(
            "{why} needs what Debian's packages `{list}` bring, and there is no apt-get here: \
             install your system's own packages of these programs and try again"
        );
    }
    let step = Step::start(format!("{why} needs {list}: installing by apt-get"));
    if !can_install(&missing).is_ok_and(|plan| removals(&plan).is_empty()) {
        // A fresh machine has no package lists, an old one stale lists.
        update()?;
    }
    let plan = can_install(&missing)
        .with_context(|| format!("apt-get knows no way to install `{list}`"))?;
    let removed = removals(&plan);
    if !removed.is_empty() {
        bail!(
            "installing `{list}` would remove {}: nothing was changed. Remove them yourself if \
             you do not need them, or get the programs another way",
            removed.join(", ")
        );
    }
    if install(&missing).is_err() {
        // The lists may name versions that the mirror has replaced since.
        update()?;
        install(&missing)?;
    }
    step.done();
    Ok(())
}

/// Whether apt-get could install all of them now without removing anything.
pub(crate) fn installable(wanted: &[Package]) -> Installable {
    let missing = missing(wanted, Package::is_here);
    if shell::which("apt-get").is_none() {
        return Installable::No("there is no apt-get".into());
    }
    match can_install(&missing) {
        Ok(plan) => match removals(&plan) {
            removed if removed.is_empty() => Installable::Yes,
            removed => Installable::No(format!("that would remove your {}", removed.join(" and "))),
        },
        Err(error) => Installable::No(format!("apt-get does not know them: {error:#}")),
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Installable {
    Yes,
    No(String),
}

/// Fetches the package lists; a fresh container has none.
pub(crate) fn update() -> Result<()> {
    let mut command = shell::as_root("apt-get", &[])?;
    command.args(["-qq", "update"]);
    eprintln!("    {}", shell::line(&command));
    shell::run(&mut command)
}

fn missing(wanted: &[Package], is_here: impl Fn(&Package) -> bool) -> Vec<&'static str> {
    let mut names: Vec<&'static str> =
        wanted.iter().filter(|package| !is_here(package)).map(|package| package.name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn can_install(names: &[&str]) -> Result<String> {
    let mut command = Command::new("apt-get");
    // Debian's messages are translated; we read them.
    command.env("LC_ALL", "C").args(["--simulate", "--no-install-recommends", "install"]);
    shell::output(command.args(names))
}

/// The packages that an apt-get simulation would take away.
fn removals(plan: &str) -> Vec<String> {
    plan.lines()
        .filter_map(|line| line.strip_prefix("Remv "))
        .filter_map(|rest| rest.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// nginx, HAProxy and Redis start as system services when installed, on well-known ports; we only
/// want the programs. `policy-rc.d` is Debian's way to say so; an existing one is left alone.
const INSTALL: &str = r#"
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM HUP
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -qq -y --no-remove --no-install-recommends -o Dpkg::Use-Pty=0 install "$@"
"#;

fn install(names: &[&str]) -> Result<()> {
    let mut command = shell::as_root("sh", &[])?;
    command.args(["-c", INSTALL, "install"]).args(names);
    eprintln!("    apt-get --no-remove --no-install-recommends install {}", names.join(" "));
    shell::run(&mut command)
        .with_context(|| format!("apt-get could not install {}", names.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_installed_and_once() {
        let wanted = [CURL, CC, CXX, NGINX];
        assert_eq!(missing(&wanted, |p| p.name == "curl"), ["build-essential", "nginx"]);
        assert!(missing(&wanted, |_| true).is_empty());
    }

    #[test]
    fn a_program_of_any_origin_will_do() {
        let sh = Package { name: "no-such-package", sign: Sign::Program("sh") };
        let root = Package { name: "no-such-package", sign: Sign::Path("/") };
        let none = Package { name: "bash", sign: Sign::Program("no-such-program-here") };
        assert!(sh.is_here() && root.is_here() && !none.is_here());
    }

    #[test]
    fn a_plan_that_removes_is_seen() {
        let plan = "Reading package lists...\n\
                    Remv cargo [0.66.0+ds1-1]\n\
                    Remv rustc [1.63.0+dfsg1-2]\n\
                    Inst rustc-web (1.96.0 Debian-Security:12/oldstable [amd64])\n";
        assert_eq!(removals(plan), ["cargo", "rustc"]);
        assert!(removals("Inst wrk (4.1.0-3+b2 Debian:12.11/stable [amd64])\n").is_empty());
    }
}
