//! A pod in a network namespace and a cgroup of its own, with a service address that answers by
//! itself, and everything removed at the end of the test.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nodeway::intercept::{
    Accelerate, FailPolicy, Interceptor, Options, OriginalDestinations, PodListeners, PodNetns,
    find_cgroup2, object,
};
use nodeway_ebpf::{Exit, Frontend};

/// Answered by the pod itself when nobody intercepts; caught when somebody does.
pub(crate) const VIP4: &str = "10.96.0.1:80";
/// As [`VIP4`].
pub(crate) const VIP6: &str = "[fd00:96::1]:80";
/// Answered by the pod itself; never a frontend.
pub(crate) const OTHER4: &str = "10.96.0.2:80";

/// What the clients in the pod have at hand.
const PRELUDE: &str = r#"
import errno, socket
T, D, I4, I6 = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.AF_INET, socket.AF_INET6
def tell(s):
    peer, said = s.getpeername(), b""
    while chunk := s.recv(4096):
        said += chunk
    print(f"{peer[0]} {peer[1]} {said.decode()}")
def dial(s, host, port):
    s.settimeout(10)
    try:
        s.connect((host, port))
        tell(s)
    except OSError as e:
        print(errno.errorcode.get(e.errno, str(e)))
"#;

/// One test's pod.
pub(crate) struct World {
    name: String,
    pub cgroup: PathBuf,
    pub bpffs: PathBuf,
    /// The addresses' own servers.
    direct: Option<Server>,
}

/// Answers each connection with one text, until dropped.
pub(crate) struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

// === impl World ===

impl World {
    /// None, said aloud, where it cannot be made.
    pub(crate) fn make() -> Option<Self> {
        if let Some(missing) = missing() {
            let set = |name: &str, value: &str| std::env::var(name).is_ok_and(|v| v == value);
            assert!(
                !set("NODEWAY_REQUIRE_PRIVILEGED", "1") && !set("CI", "true"),
                "SKIPPED: needs {missing}, and this run allows no skips"
            );
            // Past the capture of the test harness.
            writeln!(std::io::stderr(), "SKIPPED: needs {missing}").ok();
            return None;
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("nwi-{}-{n}", std::process::id());
        let cgroup = find_cgroup2().unwrap().join(&name);
        let bpffs = std::env::temp_dir().join(&name);
        let mut world = Self { name, cgroup, bpffs, direct: None };
        std::fs::create_dir(&world.cgroup).unwrap();
        run("ip", &["netns", "add", &world.name]);
        for args in [
            &["link", "set", "lo", "up"] as &[&str],
            &["addr", "add", "10.96.0.1/32", "dev", "lo"],
            &["addr", "add", "10.96.0.2/32", "dev", "lo"],
            &["addr", "add", "10.244.0.7/32", "dev", "lo"],
            &["addr", "add", "fd00:96::1/128", "dev", "lo", "nodad"],
        ] {
            run("ip", &[&["-n", &world.name], args].concat());
        }
        let listen = |at: &str| TcpListener::bind(at).unwrap();
        let listeners = world.netns().run(|| vec![listen(VIP4), listen(VIP6), listen(OTHER4)]);
        world.direct = Some(Server::start(listeners.unwrap(), |_| "direct".to_owned()));
        Some(world)
    }

    pub(crate) fn netns_path(&self) -> PathBuf {
        Path::new("/var/run/netns").join(&self.name)
    }

    pub(crate) fn netns(&self) -> PodNetns {
        PodNetns::open(&self.netns_path()).unwrap()
    }

    pub(crate) fn options(&self, fail_policy: FailPolicy) -> Options {
        let (cgroup, bpffs) = (self.cgroup.clone(), self.bpffs.clone());
        Options { cgroup, bpffs, fail_policy, takeover: false, accelerate: Accelerate::Off }
    }

    /// An interceptor that knows the service addresses, and nobody enrolled.
    pub(crate) fn intercept(&self, fail_policy: FailPolicy) -> Interceptor {
        let mut interceptor = Interceptor::start(&self.options(fail_policy)).unwrap();
        interceptor.change_frontends(frontends()).unwrap();
        interceptor
    }

    /// Opens listeners in the pod, enrols it and serves it.
    pub(crate) fn serve(&self, interceptor: &mut Interceptor) -> Server {
        let netns = self.netns();
        let listeners = PodListeners::open(&netns, 2, interceptor.listener_mark()).unwrap();
        interceptor.enroll(&netns, listeners.port4, listeners.port6).unwrap();
        interceptor.take_over();
        Server::proxy(listeners, netns.cookie(), interceptor.original_destinations())
    }

    /// Runs Python in the pod: its cgroup, its namespace. What it prints.
    pub(crate) fn python(&self, code: &str) -> String {
        let code = format!("{PRELUDE}\n{code}");
        let output = self.command("python3", &["-c", &code], true).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Runs this test binary again, as `role` (see `child.rs`); in the pod's cgroup if `inside`.
    pub(crate) fn child(&self, role: &str, inside: bool) -> Child {
        let program = std::env::current_exe().unwrap();
        let args = ["--exact", "child::child", "--ignored", "--nocapture", "--quiet"];
        let mut command = if inside {
            self.command(program.to_str().unwrap(), &args, false)
        } else {
            let mut command = Command::new(program);
            command.args(args);
            command
        };
        command
            .env("NODEWAY_TEST_ROLE", role)
            .env("NODEWAY_TEST_WORLD", &self.name)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// The world that a parent has made, for its child, who must not remove it.
    pub(crate) fn of_parent(name: &str) -> std::mem::ManuallyDrop<Self> {
        std::mem::ManuallyDrop::new(Self {
            name: name.to_owned(),
            cgroup: find_cgroup2().unwrap().join(name),
            bpffs: std::env::temp_dir().join(name),
            direct: None,
        })
    }

    fn command(&self, program: &str, args: &[&str], in_netns: bool) -> Command {
        let netns = format!("--net={}", self.netns_path().display());
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo $$ > "$0/cgroup.procs" && exec "$@""#]).arg(&self.cgroup);
        if in_netns {
            command.args(["nsenter", &netns]);
        }
        command.arg(program).args(args);
        command
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.direct = None;
        let quiet = |program: &str, args: &[&str]| {
            Command::new(program).args(args).stderr(Stdio::null()).status().ok()
        };
        quiet("ip", &["netns", "del", &self.name]);
        quiet("umount", &[self.bpffs.to_str().unwrap_or_default()]);
        std::fs::remove_dir(&self.bpffs).ok();
        // A child that has just been killed may take a moment to leave.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.cgroup).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

// === impl Server ===

impl Server {
    /// The node's proxy, as far as these tests need one: says for whom a connection was.
    pub(crate) fn proxy(listeners: PodListeners, netns: u64, flows: OriginalDestinations) -> Self {
        let all = listeners.workers.into_iter().flat_map(|worker| [Some(worker.v4), worker.v6]);
        Self::start(all.flatten().collect(), move |stream| original(stream, netns, &flows))
    }

    pub(crate) fn start(
        listeners: Vec<TcpListener>,
        answer: impl Fn(&TcpStream) -> String + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for listener in &listeners {
                listener.set_nonblocking(true).unwrap();
            }
            while !stopped.load(Ordering::Relaxed) {
                for listener in &listeners {
                    match listener.accept() {
                        Ok((mut stream, _)) => {
                            let text = answer(&stream);
                            stream.write_all(text.as_bytes()).ok();
                        }
                        Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                    }
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// For whom an accepted connection was, in words.
pub(crate) fn original(stream: &TcpStream, netns: u64, flows: &OriginalDestinations) -> String {
    let (peer, here) = (stream.peer_addr().unwrap(), stream.local_addr().unwrap());
    match flows.take(netns, peer.port(), here.port(), here.is_ipv6()).unwrap() {
        Some(dialled) => format!("for {dialled}"),
        None => "for nobody".to_owned(),
    }
}

/// The service addresses.
pub(crate) fn frontends() -> impl Iterator<Item = (SocketAddr, Option<Frontend>)> {
    [VIP4, VIP6].into_iter().map(|address| (address.parse().unwrap(), Some(Frontend::L7)))
}

/// The count of one exit.
pub(crate) fn count(exits: &nodeway::intercept::Exits, exit: Exit) -> u64 {
    exits.read()[exit as usize].1
}

fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("root or CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN");
    }
    if object().is_none() {
        return Some("the eBPF object (NODEWAY_BPF_OBJECT)");
    }
    let there = |name: &&str| {
        let path = std::env::var("PATH").unwrap_or_default();
        path.split(':').chain(["/usr/sbin", "/sbin"]).any(|dir| Path::new(dir).join(name).is_file())
    };
    ["ip", "nsenter", "python3"].into_iter().find(|name| !there(name))
}

fn run(program: &str, args: &[&str]) {
    let status = Command::new(program).args(args).status().unwrap();
    assert!(status.success(), "{program} {args:?}");
}
