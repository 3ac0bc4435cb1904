//! A running program: its output in files, killed when its value goes.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use crate::wait::{eventually, within};

/// A program that runs.
#[derive(Debug)]
pub struct Proc {
    child: Child,
    /// Output goes to `<log>.out` and `<log>.err`.
    log: PathBuf,
}

/// A program that ran.
#[derive(Debug)]
pub struct Ran {
    /// Whether it ended with 0.
    pub ok: bool,
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub out: String,
    /// What it complained of.
    pub err: String,
}

impl Proc {
    /// Starts `command` with its output in `<log>.out` and `<log>.err`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(mut command: Command, log: PathBuf) -> Self {
        let file = |kind: &str| File::create(log.with_extension(kind)).expect("a log file");
        command.stdout(file("out")).stderr(file("err"));
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { child, log }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it printed so far.
    #[must_use]
    pub fn out(&self) -> String {
        self.read("out")
    }

    /// What it complained of so far.
    #[must_use]
    pub fn err(&self) -> String {
        self.read("err")
    }

    fn read(&self, kind: &str) -> String {
        let bytes = fs::read(self.log.with_extension(kind)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until it has printed `text`.
    ///
    /// # Panics
    /// When it ends, or 10 s pass, without.
    #[must_use]
    pub fn until_it_says(mut self, text: &str) -> Self {
        let mut ended = None;
        let said = within(Duration::from_secs(10), || {
            ended = self.ended();
            ended.is_some() || self.out().contains(text)
        });
        let fine = said && self.out().contains(text);
        let (out, err) = (self.out(), self.err());
        assert!(fine, "waited for {text:?}, ended: {ended:?}\n{out}{err}");
        self
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child")
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.ended().is_none()
    }

    /// Sends a signal.
    pub fn signal(&mut self, signal: i32) {
        if self.runs() {
            let pid = i32::try_from(self.child.id()).expect("a pid");
            // SAFETY: plain numbers; the child is ours and not reaped, so the pid is its own.
            unsafe { libc::kill(pid, signal) };
        }
    }

    /// Kills it (`kill -9`) and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not come within `limit`.
    pub fn finish(mut self, limit: Duration) -> Ran {
        let mut status = None;
        let name = self.log.display().to_string();
        eventually(limit, &format!("the end of {name}"), || {
            status = self.ended();
            status.is_some()
        });
        let status = status.unwrap_or_else(|| ExitStatus::from_raw(0));
        Ran { ok: status.success(), status, out: self.out(), err: self.err() }
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        self.kill();
    }
}
