//! A Nodeway that runs: starting, watching, stopping it in kind and unkind ways.

use std::ffi::OsString;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{self, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use crate::metrics::Metrics;
use crate::place::Place;
use crate::process::Proc;
use crate::wait::within;
use crate::{binaries, http};

/// How long it may take to get ready, on a busy machine.
const READY: Duration = Duration::from_secs(60);
/// How long a clean stop may take, draining included.
const STOP: Duration = Duration::from_secs(40);

/// A running Nodeway.
#[derive(Debug)]
pub struct Nodeway {
    process: Option<Proc>,
    /// Where `/metrics`, `/livez` and `/readyz` are.
    pub metrics_at: SocketAddr,
    /// Where the administration is.
    pub admin_at: SocketAddr,
}

/// A loopback address that nobody else uses: its own for every run and call, so that ports can be
/// the usual ones and tests never meet.
#[must_use]
pub fn loopback() -> IpAddr {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let pid = process::id().to_be_bytes();
    let second = 64 | ((count[2] & 3) << 4) | (pid[2] & 15);
    IpAddr::V4(Ipv4Addr::new(127, second, pid[3], count[3]))
}

impl Nodeway {
    /// Starts `nodeway run` with these arguments, and waits until it is ready.
    ///
    /// # Panics
    /// When it ends or is not ready in time; the message has its log.
    #[must_use]
    pub fn start(place: &Place, args: &[OsString]) -> Self {
        let mut this = Self::launch(place, args);
        this.wait_ready();
        this
    }

    /// Starts it and does not wait.
    #[must_use]
    pub fn launch(place: &Place, args: &[OsString]) -> Self {
        Self::launch_through(place, &[], args)
    }

    /// Starts it through another program, which has to become it (`setpriv ...`), and does not wait.
    #[must_use]
    pub fn launch_through(place: &Place, through: &[String], args: &[OsString]) -> Self {
        let ip = loopback();
        let (metrics_at, admin_at) = (SocketAddr::new(ip, 15020), SocketAddr::new(ip, 15000));
        let named = args.iter().any(|arg| arg == "--node-name");
        let name = if named { &[][..] } else { &["--node-name", "node-a"] };
        let mut all: Vec<OsString> = [&["run", "--workers", "2"], name]
            .concat()
            .into_iter()
            .map(OsString::from)
            .chain(["--metrics".into(), metrics_at.to_string().into()])
            .chain(["--admin".into(), admin_at.to_string().into()])
            .collect();
        all.extend_from_slice(args);
        let mut line: Vec<OsString> = through.iter().map(OsString::from).collect();
        line.push(binaries::nodeway().into());
        line.extend(all);
        let process = place.start(&line[0], &line[1..]);
        Self { process: Some(process), metrics_at, admin_at }
    }

    /// Waits until `/readyz` says yes.
    ///
    /// # Panics
    /// When it ends, or takes too long.
    pub fn wait_ready(&mut self) {
        let mut ended = None;
        let ready = within(READY, || {
            ended = self.process.as_mut().and_then(Proc::ended);
            ended.is_some() || self.status("/readyz") == Some(200)
        });
        let fine = ready && ended.is_none();
        assert!(fine, "nodeway is not ready, ended: {ended:?}\n{}", self.log());
    }

    /// The status of an endpoint, if it answers.
    #[must_use]
    pub fn status(&self, path: &str) -> Option<u16> {
        http::get(self.metrics_at, path).ok().map(|response| response.status)
    }

    /// A scrape.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let response = http::get(self.metrics_at, "/metrics").expect("an answer from /metrics");
        assert_eq!(response.status, 200, "{}", response.text());
        Metrics::new(response.text())
    }

    /// All it has said.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.as_ref().map_or(String::new(), |process| process.out() + &process.err())
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.process.as_mut().is_some_and(Proc::runs)
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it was stopped.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("a running nodeway").pid()
    }

    /// Resident memory now, in bytes.
    #[must_use]
    pub fn rss(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most that was resident since `reset_peak_rss`, in bytes.
    #[must_use]
    pub fn peak_rss(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// Makes the peak the present value.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn reset_peak_rss(&self) {
        let path = format!("/proc/{}/clear_refs", self.pid());
        fs::write(path, "5").expect("a peak that can be reset");
    }

    fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// CPU time used so far, in clock ticks (10 ms).
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // The name may have spaces; utime and stime are fields 14 and 15 of the whole.
        let after = stat.rsplit_once(") ").unwrap().1;
        let field = |n: usize| after.split(' ').nth(n).unwrap().parse::<u64>().unwrap();
        field(11) + field(12)
    }

    /// SIGTERM; it drains from now on, and still runs.
    ///
    /// # Panics
    /// When it does not begin to drain.
    pub fn drain(&mut self) {
        let process = self.process.as_mut().expect("a running nodeway");
        process.signal(libc::SIGTERM);
        let draining = within(READY, || self.status("/readyz") == Some(503));
        assert!(draining, "it does not drain\n{}", self.log());
    }

    /// SIGTERM, and its end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn stop(&mut self) -> (ExitStatus, String) {
        let mut process = self.process.take().expect("a running nodeway");
        process.signal(libc::SIGTERM);
        let ran = process.finish(STOP);
        (ran.status, ran.out + &ran.err)
    }

    /// `kill -9`: no clean-up of its own.
    pub fn kill(&mut self) {
        self.process.take();
    }

    /// Waits for the end that it comes to by itself.
    ///
    /// # Panics
    /// When it does not.
    pub fn end(&mut self, limit: Duration) -> (ExitStatus, String) {
        let ran = self.process.take().expect("a running nodeway").finish(limit);
        (ran.status, ran.out + &ran.err)
    }
}

impl Drop for Nodeway {
    fn drop(&mut self) {
        if thread::panicking() && self.process.is_some() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("--- what nodeway said last ---");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}
