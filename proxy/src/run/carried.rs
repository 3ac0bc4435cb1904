//! Connections that the proxy never sees: their frontends kept in line with snapshots and health, and what the
//! kernel tells of them passed on to metrics, the log, health and whoever checks it.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use nodeway_core::balance::{Change, HealthEvent, Millis, Report};
use nodeway_core::model::{ObjectName, Pod};
use nodeway_core::snapshot::Snapshot;
use nodeway_ebpf::{End, Ended};
use tokio::sync::mpsc;

use crate::intercept::{
    Carrying, Enrolment, InterceptError, Interceptor, Labels, PodNetns, Records, Resetter, reset,
};
use crate::runtime::{Clock, Published};
use crate::telemetry::{Carried as Numbers, Flag, Shard, TcpLabels, tell_changes};
use crate::upstream::{Place, Use};

/// How often tables are compared with their endpoints' health, and records are read: so long, at most, an
/// endpoint that has become ill is sent connections.
const LOOK: Duration = Duration::from_millis(100);
/// To compare all tables takes so small a part of the time at most.
const PART: u32 = 200;
/// But they are compared so often, however many there are and whatever else keeps this thread from it.
const LOOK_LATEST: Duration = Duration::from_secs(2);
/// Who uses what that is checked is asked so often.
const USES: Duration = Duration::from_secs(1);
/// Of pods that have gone there are connections that end; these many are remembered.
const MOST_CLIENTS: usize = 4_096;

/// See the module.
pub(super) struct Carried {
    carrying: Carrying,
    records: Records,
    resetter: Resetter,
    /// Sockets that we have reset, until the kernel tells of their ends.
    cut: HashSet<u64>,
    clients: HashMap<u64, Client>,
    published: Arc<Published>,
    clock: Clock,
    shard: Shard,
    uses: mpsc::Sender<Use>,
    access_log: bool,
    look: Instant,
    ask: Instant,
    untold: u64,
}

/// A pod whose connections these are.
struct Client {
    pod: Arc<Pod>,
    netns: Weak<PodNetns>,
}

/// What it takes besides the kernel.
pub(super) struct Means {
    pub(super) published: Arc<Published>,
    pub(super) clock: Clock,
    pub(super) shard: Shard,
    pub(super) uses: mpsc::Sender<Use>,
    pub(super) access_log: bool,
}

// === impl Carried ===

impl Carried {
    /// # Errors
    /// The kernel refuses.
    pub(super) fn start(
        interceptor: &mut Interceptor,
        means: Means,
    ) -> Result<Self, InterceptError> {
        let (carrying, records, resetter) = interceptor.take_l4()?;
        let Means { published, clock, shard, uses, access_log } = means;
        let (now, clients) = (Instant::now(), HashMap::new());
        let (look, ask, untold) = (now, now, 0);
        Ok(Self {
            carrying,
            records,
            resetter,
            cut: HashSet::new(),
            clients,
            published,
            clock,
            shard,
            uses,
            access_log,
            look,
            ask,
            untold,
        })
    }

    /// What is dialled at these addresses is as the snapshot says.
    pub(super) fn frontends(
        &mut self,
        interceptor: &mut Interceptor,
        snapshot: &Snapshot,
        touched: Vec<SocketAddr>,
    ) {
        let frontends = touched.into_iter().map(|address| (address, snapshot.frontend(address)));
        let changes = self.carrying.update(frontends, (Instant::now(), self.clock.now()));
        change(interceptor, changes);
    }

    /// How many frontends go without the proxy.
    pub(super) fn len(&self) -> usize {
        self.carrying.count()
    }

    /// When there is something to do again.
    pub(super) fn next(&self) -> Option<Instant> {
        (!self.carrying.is_idle()).then_some(self.look)
    }

    /// Does what is due.
    pub(super) fn proceed(&mut self, interceptor: &mut Interceptor, pods: &Enrolment) {
        let start = Instant::now();
        if start < self.look {
            return;
        }
        // First what has become of connections: it may make an endpoint ill.
        self.read(pods);
        if self.ask <= start {
            self.ask = start + USES;
            self.tell_uses(pods);
        }
        self.cut(pods, start);
        let compared = Instant::now();
        let changes = self.carrying.refresh((compared, self.clock.now()));
        let took = compared.elapsed();
        change(interceptor, changes);
        self.look = Instant::now() + (took * PART).clamp(LOOK, LOOK_LATEST);
    }

    /// Takes in what the kernel has told.
    pub(super) fn read(&mut self, pods: &Enrolment) {
        while let Some(ended) = self.records.ended() {
            self.count(&ended, pods);
        }
        let untold = self.records.untold();
        if untold > self.untold {
            tracing::warn!(
                connections = untold - self.untold,
                "the kernel had no room to tell what became of connections: they are not in metrics"
            );
            self.untold = untold;
        }
    }

    fn count(&mut self, ended: &Ended, pods: &Enrolment) {
        let (Some(end), Some(labels)) =
            (End::of(ended.end), self.carrying.series().labels(ended.target.series))
        else {
            return;
        };
        let labels = labels.clone();
        let flag = match (end, &labels.backend) {
            (End::Closed, _) if self.cut.remove(&ended.socket) => Flag::EndpointGone,
            (End::Closed, _) => Flag::None,
            (End::NotConnected, _) => Flag::UpstreamConnectFailure,
            (End::GivenUp, _) => Flag::DownstreamGone,
            (End::Refused, Some(_)) => Flag::NoHealthyUpstream,
            (End::Refused, None) => Flag::InvalidRoute,
        };
        let endpoint = SocketAddr::from(ended.target.address);
        if let (End::Closed | End::NotConnected, Some((service, port))) = (end, &labels.backend) {
            self.report(ended, endpoint, (service, *port));
        }
        let workload = match self.client(ended.netns, pods) {
            Some(client) => Arc::clone(&client.pod.workload),
            None => Arc::from(""),
        };
        if self.access_log {
            log(&labels, endpoint, &workload, ended, flag);
        }
        let numbers = Numbers {
            sent: ended.sent,
            received: ended.received,
            duration: Duration::from_nanos(ended.duration),
            rtt: (ended.rtt > 0).then(|| Duration::from_micros(ended.rtt.into())),
            retransmits: ended.retransmits.into(),
        };
        let Labels { parent, route, backend, .. } = labels;
        let backend = backend.map(|(service, _)| service);
        let labels = TcpLabels { parent, route, backend, source_workload: workload, flag };
        self.shard.tcp_carried(labels, &numbers);
    }

    /// Tells the backend how it went with an endpoint: that is all it hears of such connections.
    fn report(&self, ended: &Ended, endpoint: SocketAddr, (service, port): (&ObjectName, u16)) {
        let view = self.published.load();
        // What was deleted meanwhile has no future to decide on.
        let Some(frontend) = view.service_port(service, port) else { return };
        let both = [Some(&frontend.backend), frontend.external()];
        let mut both = both.into_iter().flatten();
        let found = both.find_map(|backend| Some((backend, backend.at(endpoint)?)));
        let Some((backend, endpoint)) = found else { return };
        let report = match End::of(ended.end) {
            Some(End::NotConnected) => Report::NotConnected,
            _ => {
                let latency = Duration::from_micros(ended.rtt.into());
                Report::Connected { latency }
            }
        };
        let now = self.clock.now();
        let began = Millis(now.0.saturating_sub(ended.duration / 1_000_000));
        let events = backend.ended(ended.netns, endpoint, (began, now), report);
        for HealthEvent { change, .. } in &events {
            if let Change::Ejected(ejection) = change {
                self.shard.ejected(service, ejection.cause);
            }
        }
        if !events.is_empty() {
            tell_changes(backend, now, &events, None);
        }
    }

    /// Who checks endpoints learns who uses them.
    fn tell_uses(&mut self, pods: &Enrolment) {
        for used in self.records.uses() {
            let Some(labels) = self.carrying.series().labels(used.series) else { continue };
            let Some((service, port)) = labels.backend.clone() else { continue };
            let Some(backend) = self.carrying.series().backend(used.series) else { continue };
            let Some(client) = self.client(used.netns, pods) else { continue };
            let place = Place::Pod(used.netns, Weak::clone(&client.netns));
            // Told again in a moment, if there is no room now.
            let _ = self.uses.try_send(Use { service, port, backend, place, requests: 1 });
        }
    }

    /// Resets connections to endpoints that are gone for longer than their policy lets them be.
    fn cut(&mut self, pods: &Enrolment, now: Instant) {
        let cuts = self.carrying.due(now);
        if cuts.is_empty() {
            return;
        }
        // What has ended by itself since is nobody's doing.
        self.read(pods);
        self.cut.clear();
        for (netns, sockets) in self.resetter.victims(&cuts) {
            let Some((pod, netns)) = pods.pods().find(|(_, known)| known.cookie() == netns) else {
                continue;
            };
            self.cut.extend(&sockets);
            match reset(netns, &sockets) {
                Ok(count) => {
                    tracing::info!(pod = %pod.name, count, "connections to endpoints that are gone are reset");
                }
                Err(error) => {
                    tracing::warn!(pod = %pod.name, %error,
                        "connections to endpoints that are gone cannot be reset: they go on");
                }
            }
        }
    }

    fn client(&mut self, netns: u64, pods: &Enrolment) -> Option<&Client> {
        if !self.clients.contains_key(&netns) {
            if self.clients.len() >= MOST_CLIENTS {
                self.clients.clear();
            }
            self.clients.extend(pods.pods().map(|(pod, netns)| {
                let client = Client { pod: Arc::clone(pod), netns: Arc::downgrade(netns) };
                (netns.cookie(), client)
            }));
        }
        self.clients.get(&netns)
    }
}

fn change(
    interceptor: &mut Interceptor,
    changes: Vec<(SocketAddr, Option<nodeway_ebpf::Frontend>)>,
) {
    if let Err(error) = interceptor.change_frontends(changes.into_iter()) {
        tracing::error!(%error, "some Services are not caught");
    }
}

fn log(labels: &Labels, endpoint: SocketAddr, workload: &str, ended: &Ended, flag: Flag) {
    let name = |name: Option<&ObjectName>| name.map_or_else(String::new, ToString::to_string);
    tracing::info!(target: "access", service = %labels.parent, port = labels.port,
        route = name(labels.route.as_ref()),
        backend = name(labels.backend.as_ref().map(|(service, _)| service)), %endpoint,
        workload, sent = ended.sent, received = ended.received, flags = flag.as_str(), "tcp");
}
