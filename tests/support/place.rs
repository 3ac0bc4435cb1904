//! A place to run ordinary programs in: a network namespace and a cgroup, or the host's own.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::process::{Proc, Ran};

/// How long a program that is run to its end may take.
const RUN_LIMIT: Duration = Duration::from_secs(90);

/// Where a program runs.
#[derive(Debug, Clone)]
pub struct Place {
    /// What logs are called after.
    pub name: String,
    /// The namespace's path; none is the host's.
    pub netns: Option<PathBuf>,
    /// The cgroup it is put into; none leaves it in ours.
    pub cgroup: Option<PathBuf>,
    /// Where the output of programs goes.
    pub logs: PathBuf,
}

impl Place {
    /// A command that will run here, without the proxy settings of whoever runs the tests.
    ///
    /// # Panics
    /// When the place is gone.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
            command.env_remove(name);
        }
        let netns = self.netns.as_ref().map(|path| {
            File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        });
        let procs = self.cgroup.as_ref().map(|path| {
            let path = path.join("cgroup.procs");
            File::options()
                .write(true)
                .open(&path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        });
        let enter = move || {
            if let Some(procs) = &procs {
                // SAFETY: an open descriptor and one byte that lives in the binary.
                check(unsafe { libc::write(procs.as_raw_fd(), b"0".as_ptr().cast(), 1) } == 1)?;
            }
            if let Some(netns) = &netns {
                // SAFETY: an open namespace descriptor; the child has one thread.
                check(unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) } == 0)?;
            }
            // Whoever starts us may have blocked signals (the demo does), and the mask is inherited.
            // SAFETY: a signal set on the stack, filled before it is read.
            unsafe {
                let mut none = std::mem::zeroed();
                libc::sigemptyset(&raw mut none);
                check(libc::sigprocmask(libc::SIG_SETMASK, &raw const none, null_mut()) == 0)?;
            }
            // A test that is killed takes its programs along.
            // SAFETY: plain numbers.
            check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } == 0)
        };
        // SAFETY: `enter` only makes system calls on descriptors opened before the fork.
        unsafe { command.pre_exec(enter) };
        command
    }

    /// Starts a program; it ends with the value, and with the thread that started it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start<A: AsRef<OsStr>>(&self, program: impl AsRef<OsStr>, args: &[A]) -> Proc {
        let mut command = self.command(program.as_ref());
        command.args(args);
        Proc::start(command, self.log_file(program.as_ref()))
    }

    /// Runs a program to its end.
    ///
    /// # Panics
    /// When it cannot be started or does not end in time.
    pub fn run<A: AsRef<OsStr>>(&self, program: impl AsRef<OsStr>, args: &[A]) -> Ran {
        self.start(program, args).finish(RUN_LIMIT)
    }

    /// Runs a program to its end, which has to be a good one, and gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn ok<A: AsRef<OsStr>>(&self, program: impl AsRef<OsStr>, args: &[A]) -> String {
        let program = program.as_ref().to_string_lossy().into_owned();
        let ran = self.run(&program, args);
        assert!(ran.ok, "{program} in {}: {}\n{}{}", self.name, ran.status, ran.out, ran.err);
        ran.out
    }

    /// Runs a Python program, as the machine has it.
    pub fn python(&self, code: &str, args: &[&str]) -> Ran {
        let mut all = vec!["-c", code];
        all.extend(args);
        self.run(crate::binaries::python(), &all)
    }

    fn log_file(&self, program: &OsStr) -> PathBuf {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let program = PathBuf::from(program);
        let program = program.file_name().unwrap_or_default().to_string_lossy();
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        self.logs.join(format!("{}-{program}-{n}", self.name))
    }
}

fn check(fine: bool) -> io::Result<()> {
    if fine { Ok(()) } else { Err(io::Error::last_os_error()) }
}
