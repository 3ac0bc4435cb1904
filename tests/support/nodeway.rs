//! A Nodeway to start, look at and stop.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::{Place, Proc, World, binaries, eventually};

/// A running Nodeway; killed when it is dropped, with its log printed if a test panics.
#[derive(Debug)]
pub struct Nodeway {
    proc: Proc,
    /// Port of `--metrics` on 127.0.0.1.
    pub metrics: u16,
    /// Port of `--admin` on 127.0.0.1.
    pub admin: u16,
}

/// How much time something that should be at once may take on a busy machine.
const SOON: Duration = Duration::from_secs(20);

impl Nodeway {
    /// Starts one on the world's manifests and cgroup, and waits until it is ready.
    #[must_use]
    pub fn start(world: &World, args: &[&str]) -> Self {
        let nodeway = Self::spawn(world, args);
        nodeway.wait_ready();
        nodeway
    }

    /// Starts one that may not become ready.
    #[must_use]
    pub fn spawn(world: &World, args: &[&str]) -> Self {
        let [metrics, admin] = free_ports();
        let place = Place {
            name: "nodeway".into(),
            cgroup: Some(world.cgroup.join("nodeway")),
            ..world.host.clone()
        };
        let mut all: Vec<String> = ["run", "--manifests"].map(str::to_owned).into();
        all.push(world.manifests.display().to_string());
        if !args.contains(&"--no-ebpf") {
            all.extend(["--cgroup".to_owned(), world.cgroup.display().to_string()]);
        }
        for (flag, port) in [("--metrics", metrics), ("--admin", admin)] {
            all.extend([flag.to_owned(), format!("127.0.0.1:{port}")]);
        }
        for (flag, value) in [("--workers", "2"), ("--drain-timeout", "5s")] {
            if !args.contains(&flag) {
                all.extend([flag.to_owned(), value.to_owned()]);
            }
        }
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        Self { proc: place.start(binaries::nodeway(), &all), metrics, admin }
    }

    /// Waits until it says it is ready.
    pub fn wait_ready(&self) {
        eventually(SOON, "nodeway is ready", || self.get("/readyz").0 == 200);
    }

    /// Status and body of a path of `--metrics`; status 0 if nobody answers.
    #[must_use]
    pub fn get(&self, path: &str) -> (u16, String) {
        http_get(self.metrics, path)
    }

    /// Status and body of a path of `--admin`.
    #[must_use]
    pub fn get_admin(&self, path: &str) -> (u16, String) {
        http_get(self.admin, path)
    }

    /// The sum of all samples of `name` whose line holds all of `labels` (`key="value"`).
    #[must_use]
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let (_, page) = self.get("/metrics");
        page.lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Waits until a metric has at least this value.
    #[track_caller]
    pub fn until_metric(&self, name: &str, labels: &[&str], at_least: f64) {
        let what = format!("{name}{labels:?} >= {at_least}");
        eventually(SOON, &what, || self.metric(name, labels) >= at_least);
    }

    /// Its resident memory, in octets.
    #[must_use]
    pub fn rss(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or_default() * 1024
    }

    /// The processor time that it has used, in clock ticks (10 ms).
    #[must_use]
    pub fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let field = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
        field(11) + field(12)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.proc.pid()
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.proc.err()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.proc.runs()
    }

    /// Asks it to end, and waits until it has; whether it ended with 0.
    pub fn stop(&mut self) -> bool {
        self.proc.signal(libc::SIGTERM);
        let mut status = None;
        eventually(SOON, "nodeway ends", || {
            status = self.proc.ended();
            status.is_some()
        });
        status.is_some_and(|status| status.success())
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.proc.kill();
    }
}

impl Drop for Nodeway {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- nodeway's log:\n{}", self.log());
        }
        // A clean end leaves no pins; the world's cgroup is about to go.
        self.proc.signal(libc::SIGTERM);
        crate::wait::within(Duration::from_secs(10), || self.proc.ended().is_some());
    }
}

/// Two ports that nobody listens on.
#[must_use]
pub fn free_ports() -> [u16; 2] {
    let bind = || TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let listeners = [bind(), bind()];
    listeners.map(|listener| listener.local_addr().expect("its address").port())
}

fn http_get(port: u16, path: &str) -> (u16, String) {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(SOON))?;
        write!(stream, "GET {path} HTTP/1.0\r\nhost: x\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().unwrap_or_default();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    (status, body)
}
