//! What the kernel finds when it has booted: an initial file system in memory with the tests, what they start, and the
//! libraries of all that.
//!
//! Not for a system that somebody could use: PID 1 is a script that runs the tests and switches the machine off.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::debian::Kernel;
use super::{Suite, programs};
use crate::packages;
use crate::shell::{self, Step};

/// What the machine says when all tests have been run, whatever came of them.
pub(super) const DONE: &str = "vmtest: all has been run";

/// In the order in which they need each other: bridge needs the two before it, `tcp_diag` the one.
const MODULES: [&str; 6] = [
    "net/llc/llc",
    "net/802/stp",
    "net/bridge/bridge",
    "drivers/net/veth",
    "net/ipv4/inet_diag",
    "net/ipv4/tcp_diag",
];
/// What tests start besides our own; busybox has the rest.
const PROGRAMS: [&str; 7] =
    ["curl", "ip", "nghttp", "openssl", "redis-cli", "redis-server", "setpriv"];
/// Parts of Python's library that only its own tests, or people at a screen, need.
const NOT_OF_PYTHON: [&str; 12] = [
    "dist-packages",
    "distutils",
    "ensurepip",
    "idlelib",
    "lib2to3",
    "pydoc_data",
    "site-packages",
    "test",
    "tests",
    "tkinter",
    "turtledemo",
    "unittest",
];

/// An initial file system, in a file that the kernel unpacks.
pub(super) struct Image {
    /// Where it is made, and logs go.
    pub(super) folder: PathBuf,
    pub(super) archive: PathBuf,
}

/// The tree that the archive is made of.
struct Tree {
    root: PathBuf,
    /// What is in it already, as it is called in there.
    there: BTreeSet<PathBuf>,
}

pub(super) fn make(kernel: &Kernel, busybox: &Path, suites: &[Suite]) -> Result<Image> {
    let step = Step::start("Packing the tests and what they start");
    let folder = shell::target_dir().join("vmtest");
    let _ = fs::remove_dir_all(&folder);
    let mut tree = Tree { root: folder.join("root"), there: BTreeSet::new() };
    for empty in ["bin", "dev", "proc", "run", "sys", "tmp", "var", "root"] {
        let path = tree.root.join(empty);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    }
    let run = tree.root.join("var/run");
    symlink("/run", &run).with_context(|| format!("cannot make {}", run.display()))?;
    tree.copy(busybox, "/bin/busybox")?;
    for (number, module) in MODULES.iter().enumerate() {
        tree.copy(&kernel.module(module)?, format!("/modules/{number}.ko"))?;
    }
    for name in PROGRAMS {
        let program = shell::which(name).with_context(|| format!("there is no {name}"))?;
        tree.program(&program, Path::new("/usr/bin").join(name))?;
    }
    tree.python()?;
    for (name, program) in programs()? {
        tree.program(&program, Path::new("/nodeway").join(name))?;
    }
    for suite in suites {
        let place = Path::new("/nodeway").join(suite.name);
        tree.program(&suite.binary, &place)?;
        tree.strip(&place)?;
        tree.write(place.with_extension("tests"), &suite.tests.join("\n"))?;
    }
    tree.system_files(suites)?;
    let archive = folder.join("initramfs.cpio");
    tree.pack(busybox, &archive)?;
    fs::remove_dir_all(&tree.root).context("cannot clean up")?;
    step.done();
    Ok(Image { folder, archive })
}

// === impl Tree ===

impl Tree {
    fn path(&self, place: &Path) -> PathBuf {
        self.root.join(place.strip_prefix("/").unwrap_or(place))
    }

    /// Copies a file, or what a link leads to.
    fn copy(&mut self, from: &Path, to: impl AsRef<Path>) -> Result<()> {
        let to = to.as_ref();
        if !self.there.insert(to.to_owned()) {
            return Ok(());
        }
        let path = self.path(to);
        let parent = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        fs::copy(from, &path)
            .with_context(|| format!("cannot copy {} to {}", from.display(), path.display()))?;
        Ok(())
    }

    fn write(&mut self, to: impl AsRef<Path>, text: &str) -> Result<()> {
        let path = self.path(to.as_ref());
        let parent = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Copies a program, and the libraries it is linked with to the places where it looks for them.
    fn program(&mut self, from: &Path, to: impl AsRef<Path>) -> Result<()> {
        self.copy(from, to)?;
        self.libraries(from)
    }

    fn libraries(&mut self, of: &Path) -> Result<()> {
        // What is not dynamic makes ldd fail.
        let said = shell::output(Command::new("ldd").arg(of)).unwrap_or_default();
        for library in libraries(&said) {
            self.copy(&library, &library)?;
        }
        Ok(())
    }

    /// Symbols for a debugger would only fill memory.
    fn strip(&self, place: &Path) -> Result<()> {
        shell::run(Command::new("strip").arg("--strip-debug").arg(self.path(place)))
    }

    /// The Python that the tests would run here, with its library.
    fn python(&mut self) -> Result<()> {
        const ASK: &str = "import sys, sysconfig as s\n\
            print(sys.executable, *{s.get_path('stdlib'), s.get_path('platstdlib')}, sep='\\n')";
        let said = shell::output(Command::new("python3").args(["-c", ASK]))?;
        let mut lines = said.lines().map(PathBuf::from);
        let program = lines.next().context("Python does not know where it is")?;
        self.program(&program, &program)?;
        for library in lines {
            self.python_library(&library)?;
        }
        let name = self.path(Path::new("/usr/bin/python3"));
        if !name.exists() {
            symlink(&program, &name).with_context(|| format!("cannot make {}", name.display()))?;
        }
        Ok(())
    }

    fn python_library(&mut self, folder: &Path) -> Result<()> {
        let cannot = || format!("cannot read {}", folder.display());
        for entry in fs::read_dir(folder).with_context(cannot)? {
            let path = entry.with_context(cannot)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                if !NOT_OF_PYTHON.contains(&&*name) && !name.starts_with("config-") {
                    self.python_library(&path)?;
                }
            } else if path.extension().is_some_and(|end| end == "so") {
                self.program(&path, &path)?;
            } else if path.extension().is_some_and(|end| end == "py" || end == "pyc") {
                self.copy(&path, &path)?;
            }
        }
        Ok(())
    }

    fn system_files(&mut self, suites: &[Suite]) -> Result<()> {
        self.write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")?;
        self.write("/etc/group", "root:x:0:\n")?;
        self.write("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")?;
        self.write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")?;
        let authorities = Path::new(packages::CA_BUNDLE);
        if authorities.is_file() {
            self.copy(authorities, authorities)?;
        }
        // What `openssl req` reads, wherever this one looks for it: Debian's looks here.
        let settings = Path::new("/usr/lib/ssl/openssl.cnf");
        if settings.is_file() {
            self.copy(settings, settings)?;
        }
        // Which capabilities Nodeway is to do with is told there.
        let daemon_set = shell::workspace().join("deploy/kustomize/daemonset.yaml");
        self.copy(&daemon_set, &daemon_set)?;
        // The test's way there begins in its own folder.
        let tests = self.path(&shell::workspace().join("tests"));
        fs::create_dir_all(&tests).with_context(|| format!("cannot make {}", tests.display()))?;
        self.write("/init", &init(suites.iter().map(|suite| suite.name)))?;
        let init = self.path(Path::new("/init"));
        fs::set_permissions(&init, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("cannot make {} a program", init.display()))
    }

    /// As the kernel wants it (<https://docs.kernel.org/driver-api/early-userspace/buffer-format.html>).
    fn pack(&self, busybox: &Path, archive: &Path) -> Result<()> {
        const PACK: &str = r#"set -o pipefail; "$0" find . | "$0" cpio -o -H newc >"$1""#;
        let mut command = Command::new(busybox);
        command.args(["sh", "-c", PACK]).arg(busybox).arg(archive).current_dir(&self.root);
        shell::output(&mut command).map(drop)
    }
}

/// PID 1. The first serial line is the kernel's, the second the tests'.
fn init<'a>(suites: impl Iterator<Item = &'a str>) -> String {
    let suites = suites.collect::<Vec<_>>().join(" ");
    format!(
        r#"#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/usr/bin:/bin HOME=/root TMPDIR=/tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
ulimit -n 65536
for module in /modules/*; do insmod $module; done
ip link set lo up
stty -F /dev/ttyS1 raw
exec </dev/null >/dev/ttyS1 2>&1
export NODEWAY_BIN=/nodeway/nodeway TESTSERVER_BIN=/nodeway/testserver
export NODEWAY_REQUIRE_PRIVILEGED=1 RUST_BACKTRACE=1
for suite in {suites}; do
    [ -s /nodeway/$suite.tests ] || continue
    # One at a time: there is one processor, and waiting costs nothing.
    /nodeway/$suite --test-threads 1 --exact $(cat /nodeway/$suite.tests) || echo "$suite: ended with $?"
done
echo "{DONE}"
poweroff -f
"#
    )
}

/// `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)`, and the loader: `/lib64/ld-linux-x86-64.so.2 (0x...)`.
fn libraries(said: &str) -> Vec<PathBuf> {
    let words = said.lines().filter_map(|line| {
        let place = line.split_once(" => ").map_or(line, |(_, place)| place);
        place.split_whitespace().next()
    });
    words.filter(|place| place.starts_with('/')).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_off_with_the_loader() {
        let said = "\tlinux-vdso.so.1 (0x00007ffd)\n\
            \tlibssl.so.3 => /usr/lib/x86_64-linux-gnu/libssl.so.3 (0x00007f)\n\
            \tlibgone.so => not found\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let found = libraries(said);
        let expected = ["/usr/lib/x86_64-linux-gnu/libssl.so.3", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(found, expected.map(PathBuf::from));
        assert!(libraries("\tstatically linked\n").is_empty());
    }

    #[test]
    fn the_machine_runs_each_suite_and_then_says_so() {
        let script = init(["one", "two"].into_iter());
        assert!(script.contains("for suite in one two; do"), "{script}");
        assert!(script.trim_end().ends_with(&format!("echo \"{DONE}\"\npoweroff -f")), "{script}");
    }
}
