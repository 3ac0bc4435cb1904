//! `nodeway check`: whether this host can run the proxy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::fs::statfs;
use rustix::process::{Resource, getrlimit};

use crate::intercept::{
    Accelerate, InterceptError, can_reset, cgroup2_at, find_cgroup2, find_kubepods, judge,
    kernel_has_bpffs, locks_memory, neighbours, object, try_out, try_programs,
};

/// linux/magic.h.
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;
/// Two descriptors a connection.
const OPEN_FILES: u64 = 65_536;
/// Stands for CAP_PERFMON and CAP_BPF too, which were cut out of it (5.8).
const SYS_ADMIN: u32 = 21;
/// What is needed, by number (linux/capability.h), and what for.
const CAPABILITIES: [(u32, &str, &str); 5] = [
    (12, "CAP_NET_ADMIN", "attach programs to cgroups, mark listeners"),
    (19, "CAP_SYS_PTRACE", "open other processes' namespaces"),
    (SYS_ADMIN, "CAP_SYS_ADMIN", "enter pods' network namespaces"),
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
    let cgroup = cgroup.map(|named| cgroup2_at(named.to_owned()));
    let cgroup = cgroup.as_deref();
    let may = capabilities(&read("/proc/self/status"));
    let programs = (may.state == State::Ok && object().is_some()).then(try_programs);
    let tree = cgroup.map_or_else(|| find_cgroup2().unwrap_or_default(), Path::to_owned);
    let kubepods = find_kubepods(&tree);
    let lines = [
        kernel(&read("/proc/sys/kernel/osrelease"), programs),
        line(
            "BTF",
            Path::new("/sys/kernel/btf/vmlinux").exists(),
            State::Warn,
            ("/sys/kernel/btf/vmlinux", "none"),
            "a kernel with CONFIG_DEBUG_INFO_BTF=y makes programs easier to inspect",
        ),
        cgroup2(cgroup),
        cgroup_namespace(&read("/proc/1/cgroup"), kubepods.is_some()),
        kubelets_pods(kubepods),
        others(&neighbours(&tree)),
        line(
            "BPF file system",
            kernel_has_bpffs(bpffs),
            State::Warn,
            ("mounted", "not mounted"),
            "`nodeway run` mounts it; or: mount -t bpf bpf /sys/fs/bpf",
        ),
        may,
        jit(&read("/proc/sys/net/core/bpf_jit_enable")),
        resets(can_reset()),
        memory_lock(locks_memory(), getrlimit(Resource::Memlock).maximum),
        open_files(getrlimit(Resource::Nofile).maximum),
        line(
            "IPv6",
            !read("/proc/net/if_inet6").is_empty(),
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
        acceleration(),
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

/// Connections that go to endpoints without the proxy can be ended by the kernel alone.
fn resets(can: std::io::Result<()>) -> Line {
    Line {
        what: "resets",
        state: if can.is_ok() { State::Ok } else { State::Warn },
        found: match can {
            Ok(()) => "connections of pods can be reset (sock_diag)".to_owned(),
            Err(error) => format!("connections of pods cannot be reset: {error}"),
        },
        todo: "without that, drainTimeout does not hold for opaque TCP: connections to endpoints that are gone go on",
    }
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

/// By its verdict on the programs, where it could be asked for one.
fn kernel(release: &str, programs: Option<Result<(), InterceptError>>) -> Line {
    let release = release.trim();
    let (state, found) = match programs {
        Some(Ok(())) => (State::Ok, format!("{release}, takes the eBPF programs")),
        Some(Err(error)) => (State::Fail, format!("{release}: {}", shortened(&error.to_string()))),
        None => (State::Warn, format!("{release}, not asked whether it takes the eBPF programs")),
    };
    let todo = match state {
        State::Fail => "5.15 or newer is needed, with CONFIG_CGROUP_BPF=y; or run with --no-ebpf",
        _ => "run this as root, with a binary that carries them",
    };
    Line { what: "kernel", state, found, todo }
}

/// The verifier tells all that it looked at; what was wrong is its last word but for statistics.
fn shortened(refusal: &str) -> String {
    let mut lines = refusal.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().unwrap_or_default();
    match lines.rfind(|line| !line.starts_with("processed ")) {
        Some(last) => format!("{first} ... {last}"),
        None => first.to_owned(),
    }
}

fn cgroup2(named: Option<&Path>) -> Line {
    let todo = "mount it: mount -t cgroup2 none /sys/fs/cgroup/unified; or name one with --cgroup";
    let found = match named {
        Some(path) if is_cgroup2(path) => Ok(path.to_owned()),
        Some(path) => Err(format!("{} is none", path.display())),
        None => find_cgroup2().map_err(|_| "not mounted".to_owned()),
    };
    let (state, found) = match found {
        Ok(path) => (State::Ok, path.display().to_string()),
        Err(why) => (State::Fail, why),
    };
    Line { what: "cgroup v2", state, found, todo }
}

/// By its file system: a cgroup of version 1 has the same files.
fn is_cgroup2(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| u64::try_from(found.f_type) == Ok(CGROUP2_SUPER_MAGIC))
}

/// In a cgroup namespace of one's own, `/sys/fs/cgroup` is one's own cgroup: programs attached there
/// see no pod (cilium#16259). The host's first process then stands outside of it. But if pods can be
/// seen, it is the host's tree that was named, or a node of kind.
fn cgroup_namespace(of_init: &str, pods: bool) -> Line {
    let outside = !pods && of_init.lines().any(|line| line.starts_with("0::/.."));
    let todo = "mount the host's cgroup file system and name it with --cgroup, or run in the host's \
        cgroup namespace";
    line("cgroup namespace", !outside, State::Warn, ("the host's", "not the host's"), todo)
}

/// Where the API's pods are looked for. A host without a kubelet needs none.
fn kubelets_pods(found: Option<PathBuf>) -> Line {
    let (state, found) = match found {
        Some(path) => (State::Ok, path.display().to_string()),
        None => (State::Warn, "none".to_owned()),
    };
    let todo = "pods of the Kubernetes API cannot be found: mount the host's cgroup file system and \
        name it with --cgroup; with --manifests none is needed";
    Line { what: "kubelet's pods", state, found, todo }
}

fn others(programs: &[String]) -> Line {
    let found = format!("see connects too: {}", programs.join(", "));
    let todo = "if they balance Services, have them spare pods' namespaces (Cilium: \
        socketLB.hostNamespaceOnly=true); else nothing is left to catch";
    line("other programs", programs.is_empty(), State::Warn, ("none see connects", &found), todo)
}

fn memory_lock(counts: Option<bool>, hard: Option<u64>) -> Line {
    let found = if counts == Some(true) { "unlimited" } else { "no limit for BPF on this kernel" };
    let good = counts != Some(true) || hard.is_none();
    let todo = "raise the limit (LimitMEMLOCK=infinity)";
    line("memory lock", good, State::Warn, (found, "limited"), todo)
}

fn capabilities(status: &str) -> Line {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    let held = |number: u32| effective & (1 << number) != 0;
    let has = |number: u32| held(number) || number > SYS_ADMIN && held(SYS_ADMIN);
    let missing: Vec<String> = CAPABILITIES
        .iter()
        .filter(|(number, ..)| !has(*number))
        .map(|(_, name, what_for)| format!("{name} ({what_for})"))
        .collect();
    let found = format!("missing: {}", missing.join(", "));
    let todo = "run as root, or give the container these capabilities; --no-ebpf needs none";
    line("capabilities", missing.is_empty(), State::Fail, ("all", &found), todo)
}

fn jit(enabled: &str) -> Line {
    let on = !matches!(enabled.trim(), "0");
    // Only root may read it, and a kernel that always compiles may not have it.
    let found = if enabled.trim().is_empty() { "not told" } else { "on" };
    line("BPF JIT", on, State::Warn, (found, "off"), "sysctl -w net.core.bpf_jit_enable=1")
}

/// Never amiss: without it payload goes by TCP, as without a mesh.
fn acceleration() -> Line {
    let found = match try_out() {
        Ok(failures) => {
            let [auto, on] = [Accelerate::Auto, Accelerate::On].map(|how| judge(how, &failures));
            let hint = if on.on { "; only with --accelerate on" } else { "" };
            if auto.on { auto.told } else { format!("not used: {}{hint}", auto.told) }
        }
        Err(error) => format!("not used: {error}"),
    };
    Line { what: "acceleration", state: State::Ok, found, todo: "" }
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
    fn a_kernel_is_judged_by_what_it_says_of_the_programs() {
        assert_eq!(kernel("4.18.0-553.el8\n", Some(Ok(()))).state, State::Ok);
        let refused =
            InterceptError::Verify { program: "connect4", message: "unknown func".into() };
        let refused = kernel("6.1.0", Some(Err(refused)));
        assert_eq!(refused.state, State::Fail);
        assert!(refused.found.contains("connect4"), "{}", refused.found);
        let told = "program x: Verifier output: 0: R1=ctx()\n1: (85) call 122\nunknown func 122\nprocessed 2 insns\n\n";
        let short = shortened(told);
        assert_eq!(short, "program x: Verifier output: 0: R1=ctx() ... unknown func 122");
        let unasked = kernel("6.1.0", None);
        assert_eq!(unasked.state, State::Warn, "{}", unasked.found);
    }

    #[test]
    fn missing_capabilities_are_named() {
        assert_eq!(capabilities("CapEff:\t000001ffffffffff\n").state, State::Ok);
        let none = capabilities("CapEff:\t0000000000000000\n");
        assert!(none.found.contains("CAP_BPF"), "{}", none.found);
        assert_eq!(none.state, State::Fail);
        // All but CAP_SYS_PTRACE.
        let one = capabilities("Name:\tx\nCapEff:\t000001fffff7ffff\n");
        assert!(one.found.starts_with("missing: CAP_SYS_PTRACE ("), "{}", one.found);
        assert!(!one.found.contains(','), "{}", one.found);
        // CAP_SYS_ADMIN, CAP_SYS_PTRACE and CAP_NET_ADMIN, as in the DaemonSet.
        assert_eq!(capabilities("CapEff:\t0000000000281000\n").state, State::Ok);
        assert_eq!(capabilities("").state, State::Fail, "unknown is not good");
    }

    #[test]
    fn settings_are_judged() {
        for (enabled, state) in
            [("1\n", State::Ok), ("2", State::Ok), ("0\n", State::Warn), ("", State::Ok)]
        {
            assert_eq!(jit(enabled).state, state, "{enabled}");
        }
        assert_eq!(open_files(None).state, State::Ok);
        assert_eq!(open_files(Some(1 << 20)).state, State::Ok);
        assert_eq!(open_files(Some(1024)).state, State::Warn);
        assert_eq!(memory_lock(Some(false), Some(65_536)).state, State::Ok);
        assert_eq!(memory_lock(Some(true), None).state, State::Ok);
        assert_eq!(memory_lock(Some(true), Some(65_536)).state, State::Warn);
        assert_eq!(memory_lock(None, Some(65_536)).state, State::Ok);
        assert_eq!(cgroup_namespace("0::/init.scope\n", false).state, State::Ok);
        let outside = "12:cpu:/\n0::/../../init.scope\n";
        assert_eq!(cgroup_namespace(outside, false).state, State::Warn);
        assert_eq!(cgroup_namespace(outside, true).state, State::Ok);
        assert_eq!(others(&[]).state, State::Ok);
        assert_eq!(others(&["cil_sock4_conne".to_owned()]).state, State::Warn);
    }

    #[test]
    fn a_cgroup_is_known_by_its_file_system() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("cgroup.procs"), "").unwrap();
        let line = cgroup2(Some(folder.path()));
        assert_eq!(line.state, State::Fail);
        assert!(line.found.ends_with(" is none"), "{}", line.found);
    }
}
