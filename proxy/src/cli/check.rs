//! `nodeway check`: whether this host can run the proxy.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use rustix::process::{Resource, getrlimit};

use crate::intercept::{find_cgroup2, kernel_has_bpffs, object};

/// The oldest kernel: `bpf_get_netns_cookie` in sock_ops.
const OLDEST: (u32, u32) = (5, 15);
/// Two descriptors a connection.
const OPEN_FILES: u64 = 65_536;
/// What is needed, by number (linux/capability.h), and what for.
const CAPABILITIES: [(u32, &str, &str); 5] = [
    (12, "CAP_NET_ADMIN", "attach programs to cgroups, mark listeners"),
    (19, "CAP_SYS_PTRACE", "open other processes' namespaces"),
    (21, "CAP_SYS_ADMIN", "enter pods' network namespaces"),
    (38, "CAP_PERFMON", "load programs that use pointers"),
    (39, "CAP_BPF", "load programs and maps"),
];

/// How one line turned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    Warn,
    Fail,
}

/// One line of the report.
#[derive(Debug)]
struct Line {
    what: &'static str,
    state: State,
    found: String,
    /// What to do; empty if nothing.
    todo: &'static str,
}

/// Prints a line for each thing that is needed; fails if one is missing.
pub(super) fn check(cgroup: Option<&Path>, bpffs: &Path) -> ExitCode {
    let lines = [
        kernel(&read("/proc/sys/kernel/osrelease")),
        line(
            "BTF",
            Path::new("/sys/kernel/btf/vmlinux").exists(),
            State::Warn,
            ("/sys/kernel/btf/vmlinux", "none"),
            "a kernel with CONFIG_DEBUG_INFO_BTF=y makes programs easier to inspect",
        ),
        cgroup2(cgroup),
        line(
            "BPF file system",
            kernel_has_bpffs(bpffs),
            State::Warn,
            ("mounted", "not mounted"),
            "`nodeway run` mounts it; or: mount -t bpf bpf /sys/fs/bpf",
        ),
        capabilities(&read("/proc/self/status")),
        jit(&read("/proc/sys/net/core/bpf_jit_enable")),
        open_files(getrlimit(Resource::Nofile).maximum),
        line(
            "IPv6",
            Path::new("/proc/net/if_inet6").exists(),
            State::Warn,
            ("on", "off"),
            "without IPv6, connects to IPv6 Services are left alone",
        ),
        line(
            "eBPF object",
            object().is_some(),
            State::Fail,
            ("carried by this binary", "missing in this binary"),
            "build it with `cargo xtask build`",
        ),
    ];
    for Line { what, state, found, todo } in &lines {
        let state_text = match state {
            State::Ok => "ok  ",
            State::Warn => "warn",
            State::Fail => "FAIL",
        };
        println!("{state_text}  {what:<16} {found}");
        if *state != State::Ok {
            println!("      {:<16} -> {todo}", "");
        }
    }
    let failed = lines.iter().any(|line| line.state == State::Fail);
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn line(
    what: &'static str,
    good: bool,
    otherwise: State,
    (yes, no): (&str, &str),
    todo: &'static str,
) -> Line {
    let (state, found) = if good { (State::Ok, yes) } else { (otherwise, no) };
    Line { what, state, found: found.to_owned(), todo }
}

fn kernel(release: &str) -> Line {
    let release = release.trim();
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    let version = match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Some((major, minor)),
        _ => None,
    };
    let good = version.is_some_and(|version| version >= OLDEST);
    line("kernel", good, State::Fail, (release, release), "5.15 or newer is needed")
}

fn cgroup2(named: Option<&Path>) -> Line {
    let todo = "mount it: mount -t cgroup2 none /sys/fs/cgroup/unified; or name one with --cgroup";
    let found = match named {
        Some(path) if path.join("cgroup.procs").exists() => Ok(path.to_owned()),
        Some(path) => Err(format!("{} is none", path.display())),
        None => find_cgroup2().map_err(|_| "not mounted".to_owned()),
    };
    let (state, found) = match found {
        Ok(path) => (State::Ok, path.display().to_string()),
        Err(why) => (State::Fail, why),
    };
    Line { what: "cgroup v2", state, found, todo }
}

fn capabilities(status: &str) -> Line {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    let missing: Vec<String> = CAPABILITIES
        .iter()
        .filter(|(number, ..)| effective & (1 << number) == 0)
        .map(|(_, name, what_for)| format!("{name} ({what_for})"))
        .collect();
    let found = format!("missing: {}", missing.join(", "));
    let todo = "run as root, or give the container these capabilities; --no-ebpf needs none";
    line("capabilities", missing.is_empty(), State::Fail, ("all", &found), todo)
}

fn jit(enabled: &str) -> Line {
    let on = !matches!(enabled.trim(), "0");
    line("BPF JIT", on, State::Warn, ("on", "off"), "sysctl -w net.core.bpf_jit_enable=1")
}

fn open_files(hard: Option<u64>) -> Line {
    let good = hard.is_none_or(|hard| hard >= OPEN_FILES);
    let found = hard.map_or_else(|| "unlimited".to_owned(), |hard| format!("up to {hard}"));
    let todo = "raise the hard limit to 65536 or more (LimitNOFILE=): two descriptors a connection";
    line("open files", good, State::Warn, (&found, &found), todo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_compared_by_number() {
        for (release, state) in [
            ("5.15.0-91-generic\n", State::Ok),
            ("6.1.0", State::Ok),
            ("5.4.0", State::Fail),
            ("10.0-x", State::Ok),
            ("strange", State::Fail),
        ] {
            assert_eq!(kernel(release).state, state, "{release}");
        }
    }

    #[test]
    fn missing_capabilities_are_named() {
        assert_eq!(capabilities("CapEff:\t000001ffffffffff\n").state, State::Ok);
        let none = capabilities("CapEff:\t0000000000000000\n");
        assert!(none.found.contains("CAP_BPF"), "{}", none.found);
        assert_eq!(none.state, State::Fail);
    }
}
