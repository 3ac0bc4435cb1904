//! A world of its own: a switch and pods around it, made of network namespaces and cgroups.
//!
//! Not a cluster: there is no kube-proxy, so a ClusterIP leads nowhere but through Nodeway,
//! unless a test puts it on the switch (`World::direct`).

use std::collections::BTreeSet;
use std::ffi::{CString, OsString};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use crate::manifests::Manifests;
use crate::place::Place;
use crate::process::Proc;
use crate::{binaries, cgroup, janitor, netns, skip};

/// The world; everything in it goes with it.
#[derive(Debug)]
pub struct World {
    name: String,
    /// Its part of the cgroup tree; Nodeway attaches here.
    cgroup: PathBuf,
    scratch: PathBuf,
    pods: AtomicU16,
}

/// A pod: a namespace with an IPv4 and an IPv6 address, and a cgroup.
#[derive(Debug, Clone)]
pub struct Pod {
    /// As in its manifest.
    pub name: String,
    /// Where its programs run.
    pub place: Place,
    /// In 10.77.0.0/16.
    pub ipv4: Ipv4Addr,
    /// In fd00:77::/64.
    pub ipv6: Ipv6Addr,
}

impl World {
    /// A new world, or none (and SKIPPED) where there is no privilege to make one.
    ///
    /// # Panics
    /// When something in its making fails.
    #[must_use]
    pub fn new() -> Option<Self> {
        if let Some(missing) = skip::missing_privilege() {
            skip::skipped(&missing);
            return None;
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        if count == 0 {
            janitor::remove_leftovers();
        }
        let name = format!("{}{}-{count}", janitor::PREFIX, process::id());
        let cgroup = cgroup::root().expect("a cgroup v2 mount").join(&name);
        let scratch = janitor::scratch(&name);
        // First the value, then its parts: what fails half-way is removed as well.
        let world = Self { name, cgroup, scratch, pods: AtomicU16::new(0) };
        fs::create_dir_all(world.cgroup.join("node")).expect("a cgroup for the node");
        fs::create_dir_all(world.cgroup.join("pods")).expect("a cgroup for pods");
        fs::create_dir_all(world.scratch.join("logs")).expect("a folder for logs");
        fs::create_dir_all(world.bpffs()).expect("a folder for bpffs");
        mount_bpffs(&world.bpffs());
        let _ = netns::add(&world.netns("switch"));
        netns::batch(
            Some(&world.netns("switch")),
            "link add br0 type bridge forward_delay 0\n\
             link set br0 up\n\
             addr add 10.77.0.1/16 dev br0\n\
             addr add fd00:77::1/64 dev br0 nodad\n",
        );
        Some(world)
    }

    /// A new pod on the switch, with every address reachable through it.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn pod(&self, name: &str) -> Pod {
        let number = self.pods.fetch_add(1, Ordering::Relaxed) + 10;
        let [high, low] = number.to_be_bytes();
        let ipv4 = Ipv4Addr::new(10, 77, high, low);
        let ipv6 = Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, number);
        let (namespace, cgroup) = (self.netns(name), self.cgroup.join("pods").join(name));
        fs::create_dir_all(&cgroup).expect("a cgroup for the pod");
        let path = netns::add_dark(&namespace);
        netns::batch(
            Some(&self.netns("switch")),
            &format!(
                "link add v{number} type veth peer name eth0 netns {namespace}\n\
                 link set v{number} master br0 up\n"
            ),
        );
        netns::batch(
            Some(&namespace),
            &format!(
                "link set lo up\n\
                 link set eth0 up\n\
                 addr add {ipv4}/16 dev eth0\n\
                 addr add {ipv6}/64 dev eth0 nodad\n\
                 route add default via 10.77.0.1\n\
                 route add ::/0 via fd00:77::1\n"
            ),
        );
        let place = self.place(name, Some(path), Some(cgroup));
        Pod { name: name.to_owned(), place, ipv4, ipv6 }
    }

    /// Takes a pod away: its processes, its cgroup, its link, its namespace's name.
    pub fn remove(&self, pod: &Pod) {
        if let Some(cgroup) = &pod.place.cgroup {
            cgroup::remove(cgroup);
        }
        let number = u16::from_be_bytes([pod.ipv4.octets()[2], pod.ipv4.octets()[3]]);
        netns::batch(Some(&self.netns("switch")), &format!("link del v{number}\n"));
        netns::remove(pod.netns_name());
    }

    /// A server that says `direct`, on the Service address itself: it is reached only by a
    /// connection that no proxy caught.
    ///
    /// # Panics
    /// When the address cannot be set.
    #[must_use]
    pub fn direct(&self, address: SocketAddr) -> Proc {
        let ip = address.ip();
        let (length, nodad) = if ip.is_ipv4() { (32, "") } else { (128, " nodad") };
        let switch = self.netns("switch");
        netns::batch(Some(&switch), &format!("addr add {ip}/{length} dev lo{nodad}\n"));
        let place = self.place("switch", Some(Path::new(netns::DIR).join(switch)), None);
        let address = address.to_string();
        let args = ["http", "--name", "direct", "--listen", &address];
        place.start(binaries::testserver(), &args).until_it_says("listening")
    }

    /// Where Nodeway runs: the host's namespace, in a cgroup below the one it watches.
    #[must_use]
    pub fn node(&self) -> Place {
        self.place("node", None, Some(self.cgroup.join("node")))
    }

    /// The cgroup that holds this world's pods and its node.
    #[must_use]
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// The world's name: nobody else has it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A folder that goes with the world.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// This world's own bpffs.
    #[must_use]
    pub fn bpffs(&self) -> PathBuf {
        self.scratch.join("bpf")
    }

    /// What a `nodeway run` that serves this world needs to know, wherever it learns of objects.
    #[must_use]
    pub fn args(&self) -> Vec<OsString> {
        let (cgroup, bpffs) = (self.cgroup().into(), self.bpffs().into());
        let drain = ["--drain-timeout", "5s"].map(OsString::from);
        ["--cgroup".into(), cgroup, "--bpffs".into(), bpffs].into_iter().chain(drain).collect()
    }

    /// The folder where Nodeway pins for this world's cgroup.
    #[must_use]
    pub fn pins(&self) -> PathBuf {
        self.bpffs().join("nodeway").join(cgroup::id(&self.cgroup).to_string())
    }

    /// A folder of manifests.
    #[must_use]
    pub fn manifests(&self) -> Manifests {
        Manifests::new(self.scratch.join("manifests"))
    }

    fn netns(&self, part: &str) -> String {
        format!("{}-{part}", self.name)
    }

    fn place(&self, name: &str, netns: Option<PathBuf>, cgroup: Option<PathBuf>) -> Place {
        Place { name: name.to_owned(), netns, cgroup, logs: self.scratch.join("logs") }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        janitor::remove(&self.name);
    }
}

impl Pod {
    /// Its namespace, as its manifest names it.
    ///
    /// # Panics
    /// Never: a pod has a namespace.
    #[must_use]
    pub fn netns_path(&self) -> &Path {
        self.place.netns.as_deref().expect("a pod has a namespace")
    }

    /// Its namespace's name, for `ip netns exec`.
    ///
    /// # Panics
    /// Never: the path ends in a name.
    #[must_use]
    pub fn netns_name(&self) -> &str {
        self.netns_path().file_name().and_then(|name| name.to_str()).expect("a name")
    }

    /// Gives its namespace one more path, as a runtime does when it is ready.
    ///
    /// # Panics
    /// When it cannot.
    pub fn also_called(&self, path: &Path) {
        netns::bind(self.netns_path(), path);
    }

    /// Its IPv4 address with a port.
    #[must_use]
    pub fn v4(&self, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.ipv4), port)
    }

    /// Its IPv6 address with a port.
    #[must_use]
    pub fn v6(&self, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V6(self.ipv6), port)
    }

    /// The ports that anybody listens on at 127.0.0.1 in the pod.
    #[must_use]
    pub fn listening_on_loopback(&self) -> Vec<u16> {
        let listeners = self.listeners();
        let ports = listeners.iter().filter_map(|at| at.strip_prefix("0100007F:"));
        let ports = ports.filter_map(|port| u16::from_str_radix(port, 16).ok());
        // Listeners that share a port are one.
        ports.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Every listener in the pod, as the kernel writes addresses: hexadecimal, of both families.
    #[must_use]
    pub fn listeners(&self) -> Vec<String> {
        let tables = self.place.ok("cat", &["/proc/net/tcp", "/proc/net/tcp6"]);
        // sl, local address, remote address, state: 0A is LISTEN.
        let fields = tables.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        fields.filter(|f| f.get(3) == Some(&"0A")).map(|f| f[1].to_owned()).collect()
    }

    /// Starts the test server in `mode` on a port of both its addresses.
    #[must_use]
    pub fn serve(&self, mode: &str, version: &str, port: u16) -> Proc {
        let (v4, v6) = (self.v4(port).to_string(), self.v6(port).to_string());
        let args = [mode, "--name", &self.name, "--version", version, "--listen", &v4];
        let args = [&args[..], &["--listen", &v6]].concat();
        self.place.start(binaries::testserver(), &args).until_it_says("listening")
    }

    /// Runs the machine's curl, quietly; gives what it printed, or fails with what it said.
    #[track_caller]
    pub fn curl(&self, args: &[&str]) -> String {
        self.place.ok("curl", &[&["-sS", "--max-time", "20"], args].concat())
    }
}

fn mount_bpffs(at: &Path) {
    let at = CString::new(at.to_str().expect("a path in UTF-8")).expect("no NUL in a path");
    // SAFETY: NUL-terminated strings that outlive the call, and no data.
    let result =
        unsafe { libc::mount(c"bpf".as_ptr(), at.as_ptr(), c"bpf".as_ptr(), 0, std::ptr::null()) };
    assert_eq!(result, 0, "mount of a bpffs: {}", std::io::Error::last_os_error());
}
