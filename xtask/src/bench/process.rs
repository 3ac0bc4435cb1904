//! Processes and files that a bench leaves none of behind, and what the kernel says they used.
//!
//! Not for the load generators' results: see `load`.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::shell;

const PREFIX: &str = "nodeway-bench-";

/// A process of ours: ends with this value, and with us, however we end.
pub(super) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts it with its output in a file `name`.log of the folder.
    pub(super) fn start(command: &Command, name: &str, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output =
            File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        let errors = output.try_clone().context("cannot share a log")?;
        let mut bound = tied_to_us(command);
        let child = bound
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start `{}`", shell::line(command)))?;
        Ok(Self { child, name: name.to_owned(), log })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it accepts connections.
    pub(super) fn wait_for(&mut self, address: SocketAddrV4) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            if let Some(status) = self.child.try_wait().context("cannot wait for a process")? {
                bail!("{} ended with {status} at its start:\n{}", self.name, self.said());
            }
            if TcpStream::connect_timeout(&address.into(), Duration::from_secs(1)).is_ok() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{} does not listen on {address} after 15 s:\n{}", self.name, self.said());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for its end, but no longer than `limit`.
    pub(super) fn finish(mut self, limit: Duration) -> Result<(ExitStatus, String)> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().context("cannot wait for a process")? {
                return Ok((status, self.said()));
            }
            if Instant::now() > deadline {
                bail!("{} was still running after {limit:?} and was ended", self.name);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it printed; the end of it if that is long.
    pub(super) fn said(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let from = text.len().saturating_sub(8 << 10);
        String::from_utf8_lossy(&text[from..]).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // nginx ends its workers on SIGTERM only; what does not listen to it is killed.
        let id = self.child.id().to_string();
        let mut term = Command::new("sh");
        term.args(["-c", "kill -TERM \"$1\"", "kill", &id]).stderr(Stdio::null());
        if term.status().is_ok_and(|status| status.success()) {
            let deadline = Instant::now() + Duration::from_secs(3);
            while Instant::now() < deadline {
                if matches!(self.child.try_wait(), Ok(Some(_))) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        // It may have ended just now: then there is nobody to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ctrl-C or a kill may leave us no time for `Drop`: then the kernel ends what we started.
fn tied_to_us(command: &Command) -> Command {
    let mut tied = match shell::which("setpriv") {
        Some(setpriv) => {
            let mut tied = Command::new(setpriv);
            tied.args(["--pdeathsig", "TERM", "--"]).arg(command.get_program());
            tied
        }
        None => Command::new(command.get_program()),
    };
    tied.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => tied.env(name, value),
            None => tied.env_remove(name),
        };
    }
    tied
}

/// A folder of ours under the system's temporary one; goes with this value.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn make() -> Result<Self> {
        remove_leftovers();
        let path = std::env::temp_dir().join(format!("{PREFIX}{}", std::process::id()));
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The next bench tries again.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Folders of benches that were killed.
fn remove_leftovers() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let Some(owner) = owner.and_then(|id| id.parse::<u32>().ok()) else { continue };
        if !Path::new(&format!("/proc/{owner}")).exists() {
            // Another user's stays.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// A loopback address nobody listens on now.
pub(super) fn free_address() -> Result<SocketAddrV4> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
    let port = listener.local_addr().context("a listener has no address")?.port();
    Ok(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

/// A connection is a descriptor here and two in a proxy, and what we start inherits our limits.
pub(super) fn allow_many_files() -> Result<()> {
    let now = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: now.maximum, ..now })
        .context("cannot raise the limit on open files")
}

/// CPU time of a process and its children, all their threads, those that ended too.
pub(super) fn cpu(id: u32) -> Result<Duration> {
    let own = cpu_of(id)?;
    // A child that has just ended is nobody's.
    Ok(own + children(id).into_iter().filter_map(|child| cpu_of(child).ok()).sum::<Duration>())
}

fn cpu_of(id: u32) -> Result<Duration> {
    let file = format!("/proc/{id}/stat");
    let stat = std::fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    cpu_of_stat(&stat).with_context(|| format!("{file} is not as proc(5) says: {stat}"))
}

/// Resident memory of a process, in bytes. Of one with children what they share counts once, so to say: each has its
/// part of it (PSS).
pub(super) fn rss(id: u32) -> Result<u64> {
    let children = children(id);
    if children.is_empty() {
        return memory_of(id, "status", "VmRSS:");
    }
    let part = |id| memory_of(id, "smaps_rollup", "Pss:");
    let own = part(id)?;
    Ok(own + children.into_iter().filter_map(|child| part(child).ok()).sum::<u64>())
}

fn memory_of(id: u32, file: &str, field: &str) -> Result<u64> {
    let file = format!("/proc/{id}/{file}");
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    bytes_of(&text, field).with_context(|| format!("{file} has no {field}"))
}

/// nginx works in those.
fn children(id: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let children = processes.filter_map(|entry| -> Option<u32> {
        let child = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        (parent_of_stat(&stat)? == id).then_some(child)
    });
    children.collect()
}

/// Field 4; field 2 is a name that may hold anything.
fn parent_of_stat(stat: &str) -> Option<u32> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(1)?.parse().ok()
}

/// Fields 14 and 15, user and system time in ticks; field 2 is a name that may hold anything.
fn cpu_of_stat(stat: &str) -> Option<Duration> {
    // USER_HZ is 100 wherever Linux runs our targets.
    const TICK: Duration = Duration::from_millis(10);
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(TICK * user + TICK * system)
}

/// `VmRSS:     2048 kB`
fn bytes_of(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_user_and_system() {
        let stat = "42 (a) name) S 1 42 42 0 -1 4194304 99 0 0 0 250 50 7 8 20 0 3 0 100 1 2";
        assert_eq!(cpu_of_stat(stat), Some(Duration::from_secs(3)));
        assert_eq!(cpu_of_stat("42 (x) S"), None);
        assert_eq!(parent_of_stat(stat), Some(1));
        assert!(cpu(std::process::id()).is_ok());
    }

    #[test]
    fn memory_is_in_bytes() {
        assert_eq!(bytes_of("Name:\tx\nVmRSS:\t   2048 kB\n", "VmRSS:"), Some(2 << 20));
        assert_eq!(bytes_of("Rss: 9 kB\nPss: 3 kB\nPss_Dirty: 1 kB\n", "Pss:"), Some(3 << 10));
        assert!(rss(std::process::id()).unwrap() > 0);
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let folder = Folder::make().unwrap();
        let mut command = Command::new("sleep");
        command.arg("60");
        let process = Process::start(&command, "sleep", folder.path()).unwrap();
        let id = process.id();
        assert!(Path::new(&format!("/proc/{id}")).exists());
        drop(process);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn a_load_that_does_not_end_is_ended() {
        let folder = std::env::temp_dir().join(format!("xtask-process-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new("sleep");
        command.arg("60");
        let process = Process::start(&command, "endless", &folder).unwrap();
        let error = process.finish(Duration::from_millis(50)).unwrap_err();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(error.to_string().contains("endless was still running"));
    }
}
