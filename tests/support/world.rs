//! A world: pods on one switch, a folder of manifests, a cgroup; unmade when it is dropped.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::janitor::{self, PREFIX};
use crate::{Place, Proc, binaries, cgroup, netns, skip};

/// A small network of pods of its own.
#[derive(Debug)]
pub struct World {
    /// `nodeway-test-<pid>-<n>`: the prefix of everything that it makes.
    pub name: String,
    /// Where Nodeway's programs are attached; pods' and Nodeway's own cgroups are below it.
    pub cgroup: PathBuf,
    /// The folder of manifests.
    pub manifests: PathBuf,
    /// Programs on the host, outside the world's cgroup.
    pub host: Place,
    switch: String,
    pods: Cell<u8>,
}

/// A pod: a network namespace with an address of both families, and a cgroup.
#[derive(Debug)]
pub struct Pod {
    /// Its name in manifests.
    pub name: String,
    /// Its IPv4 address.
    pub ip4: String,
    /// Its IPv6 address.
    pub ip6: String,
    /// Where its programs run.
    pub place: Place,
}

impl World {
    /// A world without pods; none, said out loud, if this machine does not let us make one.
    #[must_use]
    pub fn new() -> Option<Self> {
        if let Some(missing) = skip::missing_privilege() {
            skip::skipped(&missing);
            return None;
        }
        static LEFTOVERS: Once = Once::new();
        LEFTOVERS.call_once(janitor::remove_leftovers);
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        let scratch = janitor::scratch(&name);
        let cgroup = cgroup::root().expect("a cgroup v2 mount").join(&name);
        let manifests = scratch.join("manifests");
        for folder in [&manifests, &scratch.join("logs"), &cgroup, &cgroup.join("nodeway")] {
            fs::create_dir_all(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        }
        let logs = scratch.join("logs");
        let host = Place { name: "host".into(), netns: None, cgroup: None, logs };
        let switch = format!("{name}-switch");
        drop(netns::add(&switch));
        netns::batch(Some(&switch), "link add br0 type bridge\nlink set br0 up\n");
        Some(Self { name, cgroup, manifests, host, switch, pods: Cell::new(0) })
    }

    /// A pod on the switch.
    pub fn pod(&self, name: &str) -> Pod {
        let number = self.pods.get() + 1;
        self.pods.set(number);
        let (ip4, ip6) = (format!("10.1.0.{number}"), format!("fd01::{number}"));
        let namespace = format!("{}-{name}", self.name);
        let path = netns::add(&namespace);
        let (switch, port) = (&self.switch, format!("p{number}"));
        netns::batch(
            Some(switch),
            &format!(
                "link add {port} type veth peer name eth0 netns {namespace}\n\
                 link set {port} master br0 up\n"
            ),
        );
        netns::batch(
            Some(&namespace),
            &format!(
                "addr add {ip4}/16 dev eth0\naddr add {ip6}/64 dev eth0 nodad\nlink set eth0 up\n\
                 route add default dev eth0\nroute add fd00::/8 dev eth0\n"
            ),
        );
        let cgroup = self.cgroup.join("pods").join(name);
        fs::create_dir_all(&cgroup).expect("a cgroup");
        let place = Place {
            name: name.to_owned(),
            netns: Some(path),
            cgroup: Some(cgroup),
            logs: self.host.logs.clone(),
        };
        Pod { name: name.to_owned(), ip4, ip6, place }
    }

    /// The folder that the world's scratch files are in.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        janitor::scratch(&self.name)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        janitor::remove(&self.name);
    }
}

impl Pod {
    /// Starts our test server in the pod: HTTP/1.1 and HTTP/2 on `port`, of both families.
    #[must_use]
    pub fn serve(&self, version: &str, port: u16) -> Proc {
        self.testserver(&["http", "--name", &self.name, "--version", version, &port.to_string()])
    }

    /// Starts our test server with `args` and waits until it listens.
    #[must_use]
    pub fn testserver(&self, args: &[&str]) -> Proc {
        self.place.start(binaries::testserver(), args).until_it_says("listening")
    }

    /// Runs curl with `args`, which must succeed; what it printed.
    #[track_caller]
    pub fn curl(&self, args: &[&str]) -> String {
        let mut all = vec!["-sS", "--max-time", "30"];
        all.extend(args);
        self.place.ok("curl", &all)
    }

    /// The path of its namespace.
    #[must_use]
    pub fn netns(&self) -> String {
        self.place.netns.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
    }
}
