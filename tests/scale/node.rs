//! The node: a running Nodeway, a pod of the mesh that asks, and what is measured of them.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nodeway_tests::{Load, Nodeway, Pod, Proc, binaries, monotonic};

use crate::cluster::{Cluster, PROBED, STEADY};
use crate::objects::cluster_ip;

/// For anything to happen.
const PATIENCE: Duration = Duration::from_secs(60);
/// Who asks while it storms.
const CLIENTS: u32 = 8;

/// See the module.
pub(crate) struct Node {
    // First, so that it ends before Nodeway does.
    probe: Proc,
    nodeway: Nodeway,
    /// From its start to its being ready, and to the first answer.
    pub(crate) ready: Duration,
    pub(crate) served: Duration,
}

/// What a storm has come to.
pub(crate) struct Storm {
    pub(crate) changes: u64,
    pub(crate) lasted: Duration,
    pub(crate) snapshots: u64,
    pub(crate) cpu: Duration,
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    /// A change right after it was in force after.
    pub(crate) caught_up: Duration,
}

// === impl Node ===

impl Node {
    pub(crate) fn start(cluster: &Cluster) -> Self {
        let world = &cluster.world;
        let kubeconfig = cluster.server.write_kubeconfig(&world.node().logs);
        let args: [OsString; 6] = [
            "--kubeconfig".into(),
            kubeconfig.into(),
            "--cgroup".into(),
            world.cgroup().into(),
            "--bpffs".into(),
            world.bpffs().into(),
        ];
        let began = Instant::now();
        let nodeway = Nodeway::launch(&world.node(), &args);
        let until = |what: &str, found: &dyn Fn() -> bool| {
            while !found() {
                assert!(began.elapsed() < PATIENCE, "not {what}:\n{}", nodeway.log());
                std::thread::sleep(Duration::from_millis(5));
            }
            began.elapsed()
        };
        let ready = until("ready", &|| nodeway.status("/readyz") == Some(200));
        let enrolled = [("state", "enrolled")];
        until("enrolled", &|| nodeway.metrics().sum("nodeway_pods", &enrolled) > 0.5);
        let probed = SocketAddr::from((cluster_ip(PROBED), 80)).to_string();
        let place = &cluster.client.pod.place;
        let probe = place.start(binaries::testserver(), &["probe", &probed]);
        let served = until("served", &|| probe.out().ends_with(" a\n"));
        Self { probe, nodeway, ready, served }
    }

    pub(crate) fn rss(&self) -> u64 {
        self.nodeway.rss()
    }

    pub(crate) fn peak_rss(&self) -> u64 {
        self.nodeway.peak_rss()
    }

    /// How long the last snapshot took.
    pub(crate) fn compile(&self) -> Duration {
        let seconds = self.nodeway.metrics().sum("nodeway_snapshot_compile_seconds", &[]);
        Duration::from_secs_f64(seconds)
    }

    /// The probed Service's endpoint becomes another, for the `i`th time: how long until a request
    /// has gone there.
    pub(crate) fn change(&self, cluster: &Cluster, i: usize) -> Duration {
        let pod: &Pod = &cluster.pods[(i + 1) % 2];
        let began = monotonic::now();
        cluster.lead_to(pod);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let out = self.probe.out();
            let last = out.lines().next_back().unwrap_or_default();
            if out.ends_with('\n')
                && let Some((at, who)) = last.split_once(' ')
                && who == pod.name
            {
                let at: u64 = at.parse().expect("a number");
                return Duration::from_nanos(at.saturating_sub(began));
            }
            assert!(!out.contains("failed"), "{out}{}", self.nodeway.log());
            assert!(Instant::now() < deadline, "still {last:?}:\n{}", self.nodeway.log());
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    pub(crate) fn storm(&self, cluster: &mut Cluster, a_second: u64, lasts: Duration) -> Storm {
        let steady = SocketAddr::from((cluster_ip(STEADY), 80));
        let load = Load::start(&cluster.client.pod.place, "h1", CLIENTS, steady);
        load.goes_on(100);
        let snapshots = || self.nodeway.metrics().sum("nodeway_snapshots_total", &[]);
        let (snapshots_before, cpu) = (snapshots(), self.nodeway.cpu_ticks());
        let (began, mut changes) = (Instant::now(), 0);
        while began.elapsed() < lasts {
            cluster.flip_any();
            changes += 1;
            let due = began
                + Duration::from_secs(1) * u32::try_from(changes).unwrap()
                    / u32::try_from(a_second).unwrap();
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let lasted = began.elapsed();
        let cpu =
            Duration::from_millis(10) * u32::try_from(self.nodeway.cpu_ticks() - cpu).unwrap();
        // A small whole number.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let snapshots = (snapshots() - snapshots_before) as u64;
        let caught_up = self.change(cluster, 0).max(self.change(cluster, 1));
        let told = load.stop();
        let (requests, failed) = (told.requests, told.failed);
        Storm { changes, lasted, snapshots, cpu, requests, failed, caught_up }
    }

    pub(crate) fn stop(mut self) {
        drop(self.probe);
        self.nodeway.stop();
    }
}
