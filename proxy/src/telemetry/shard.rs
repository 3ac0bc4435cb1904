//! One worker's metrics, and all of them together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nodeway_core::balance::Cause;
use nodeway_core::model::ObjectName;

use super::carried::{Carried, CarriedSeries, CarriedTotals};
use super::family::{Family, Handle, Registry, read};
use super::render::{Text, Type};
use super::{
    Counter, EjectionLabels, Flag, Histogram, OverflowKey, OverflowLabels, RequestKey,
    RequestLabels, TcpKey, TcpLabels,
};

/// What a caught connection turned out to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0 or 1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// Anything else, relayed as it is.
    Tcp,
}

/// The numbers of one kind of request.
#[derive(Debug, Default)]
pub struct RequestSeries {
    duration: Histogram,
}

/// The numbers of one kind of relayed connection.
#[derive(Debug, Default)]
pub struct TcpSeries {
    connections: Counter,
    sent: Counter,
    received: Counter,
    pub(super) carried: CarriedSeries,
}

/// A worker's numbers that have no labels of objects.
#[derive(Debug, Default)]
pub struct WorkerCounters {
    /// Connections accepted, by [`Protocol`].
    pub accepted: [Counter; 3],
    /// Connections open from clients.
    pub active: Counter,
    /// Accepted, but nobody was known to have been dialled: closed.
    pub unknown_destination: Counter,
    /// Requests or connections refused for breaking their protocol before they had a route.
    pub protocol_errors: Counter,
    /// Connections made to endpoints.
    pub upstream_connects: Counter,
    /// Connections to endpoints that could not be made.
    pub upstream_connect_failures: Counter,
    /// Requests sent a second time, to another endpoint.
    pub retries: Counter,
    /// Copies of requests that mirrors have answered.
    pub mirrored: Counter,
    /// Copies that no mirror has answered.
    pub mirrors_failed: Counter,
    /// Copies not made because too many were on their way.
    pub mirrors_dropped: Counter,
}

/// A request's series, to be counted into when it has ended.
pub type RequestHandle = Rc<Handle<RequestLabels, RequestSeries>>;

/// One worker's metrics, on its own thread.
#[derive(Debug)]
pub struct Shard {
    /// Numbers without labels.
    pub counters: Arc<WorkerCounters>,
    requests: Family<RequestKey, RequestLabels, RequestSeries>,
    tcp: Family<TcpKey, TcpLabels, TcpSeries>,
    overflows: Family<OverflowKey, OverflowLabels, Counter>,
    ejections: Family<(), EjectionLabels, Counter>,
    start: Instant,
}

/// A [`Shard`] on its way to its thread.
#[derive(Debug)]
pub struct ShardSeed {
    registries: Arc<Registries>,
    start: Instant,
}

#[derive(Debug, Default)]
struct Registries {
    counters: Arc<WorkerCounters>,
    requests: Registry<RequestLabels, RequestSeries>,
    tcp: Registry<TcpLabels, TcpSeries>,
    overflows: Registry<OverflowLabels, Counter>,
    ejections: Registry<EjectionLabels, Counter>,
}

/// Adds to the page of metrics.
type Collector = Box<dyn Fn(&mut Text) + Send + Sync>;

/// Which backends somebody has used lately, for those who tell more of them.
#[derive(Debug, Clone)]
pub struct Used {
    start: Instant,
    shards: Vec<Arc<Registries>>,
}

/// All workers' metrics, and what other rooms add to the page.
pub struct Metrics {
    start: Instant,
    workers: usize,
    /// Of the workers, and then of others.
    shards: Vec<Arc<Registries>>,
    collectors: Vec<Collector>,
}

// === impl Shard ===

impl Shard {
    /// The series of `key`; `labels` are asked for on first use. `generation` is that of the
    /// snapshot which the key's ids come from.
    pub fn request(
        &self,
        generation: u64,
        key: RequestKey,
        now: Instant,
        labels: impl FnOnce() -> RequestLabels,
    ) -> RequestHandle {
        self.requests.get(generation, key, self.seconds(now), labels)
    }

    /// Counts a request of `handle` that ended at `now`.
    pub fn request_ended(&self, handle: &RequestHandle, now: Instant, duration: Duration) {
        self.requests.count(handle, self.seconds(now), |series| series.duration.observe(duration));
    }

    /// Like [`Shard::request_ended`], with another reason than the one that `handle` was made for.
    pub fn request_ended_with(
        &self,
        handle: &RequestHandle,
        flag: Flag,
        now: Instant,
        duration: Duration,
    ) {
        let labels = RequestLabels { flag, ..handle.labels.clone() };
        let seconds = self.seconds(now);
        self.requests.uncached(labels, seconds).entry.series.duration.observe(duration);
    }

    /// Counts a relayed connection that ended. `sent`: octets from the client to the endpoint.
    pub fn tcp(
        &self,
        generation: u64,
        key: TcpKey,
        (sent, received): (u64, u64),
        labels: impl FnOnce() -> TcpLabels,
    ) {
        let series = self.tcp.get(generation, key, self.seconds(Instant::now()), labels);
        let series = &series.entry.series;
        series.connections.add(1);
        series.sent.add(sent);
        series.received.add(received);
    }

    /// Counts a connection that has ended, of those that the proxy never sees.
    pub fn tcp_carried(&self, labels: TcpLabels, numbers: &Carried) {
        let series = self.tcp.uncached(labels, self.seconds(Instant::now()));
        let series = &series.entry.series;
        series.connections.add(1);
        series.sent.add(numbers.sent);
        series.received.add(numbers.received);
        series.carried.count(numbers);
    }

    /// Counts what a limit has refused.
    pub fn overflowed(
        &self,
        generation: u64,
        key: OverflowKey,
        labels: impl FnOnce() -> OverflowLabels,
    ) {
        let series = self.overflows.get(generation, key, self.seconds(Instant::now()), labels);
        series.entry.series.add(1);
    }

    /// Counts an endpoint of this Service that is left out.
    pub fn ejected(&self, backend: &ObjectName, cause: Cause) {
        let labels = EjectionLabels { backend: backend.clone(), cause: cause.label() };
        self.ejections.uncached(labels, self.seconds(Instant::now())).entry.series.add(1);
    }

    fn seconds(&self, instant: Instant) -> u64 {
        instant.saturating_duration_since(self.start).as_secs()
    }
}

// === impl ShardSeed ===

impl ShardSeed {
    /// The shard, for this thread from now on.
    pub fn open(self) -> Shard {
        Shard {
            counters: Arc::clone(&self.registries.counters),
            requests: Family::new(Arc::clone(&self.registries.requests)),
            tcp: Family::new(Arc::clone(&self.registries.tcp)),
            overflows: Family::new(Arc::clone(&self.registries.overflows)),
            ejections: Family::new(Arc::clone(&self.registries.ejections)),
            start: self.start,
        }
    }
}

// === impl Metrics ===

impl Metrics {
    /// Metrics for `workers` workers.
    pub fn new(workers: usize) -> Self {
        let shards = (0..workers).map(|_| Arc::default()).collect();
        Self { start: Instant::now(), workers, shards, collectors: Vec::new() }
    }

    /// What workers count into, one each.
    pub fn shards(&self) -> Vec<ShardSeed> {
        let seed = |registries| ShardSeed { registries, start: self.start };
        self.shards.iter().take(self.workers).map(Arc::clone).map(seed).collect()
    }

    /// What is counted into that the kernel tells.
    pub fn kernel(&mut self) -> ShardSeed {
        let registries = Arc::<Registries>::default();
        self.shards.push(Arc::clone(&registries));
        ShardSeed { registries, start: self.start }
    }

    /// Which backends are used.
    pub fn used(&self) -> Used {
        Used { start: self.start, shards: self.shards.clone() }
    }

    /// Has `collect` add to every page.
    pub fn collect(&mut self, collect: impl Fn(&mut Text) + Send + Sync + 'static) {
        self.collectors.push(Box::new(collect));
    }

    /// The page of `/metrics`, in the Prometheus text format 0.0.4.
    pub fn render(&self) -> String {
        let mut text = Text::default();
        self.render_requests(&mut text);
        self.render_tcp(&mut text);
        self.render_overflows(&mut text);
        self.render_counters(&mut text);
        for collect in &self.collectors {
            collect(&mut text);
        }
        text.finish()
    }

    fn render_requests(&self, text: &mut Text) {
        let now = self.start.elapsed().as_secs();
        let mut totals: BTreeMap<RequestLabels, ([u64; 15], u64)> = BTreeMap::new();
        for shard in &self.shards {
            read(&shard.requests, now, |labels, series| {
                let (buckets, sum) = series.duration.read();
                let total = totals.entry(labels.clone()).or_default();
                total.0.iter_mut().zip(buckets).for_each(|(total, one)| *total += one);
                total.1 += sum;
            });
        }
        text.family("nodeway_requests_total", Type::Counter, "Requests that ended.");
        for (labels, (buckets, _)) in &totals {
            let labels = request_labels(labels);
            text.sample("nodeway_requests_total", &labels, buckets.iter().sum::<u64>());
        }
        // The response code and flags are left out here: sixteen series for each would be many.
        let mut durations: BTreeMap<RequestLabels, ([u64; 15], u64)> = BTreeMap::new();
        for (mut labels, (buckets, sum)) in totals {
            (labels.code, labels.flag) = (0, Flag::None);
            let total = durations.entry(labels).or_default();
            total.0.iter_mut().zip(buckets).for_each(|(total, one)| *total += one);
            total.1 += sum;
        }
        let name = "nodeway_request_duration_seconds";
        text.family(
            name,
            Type::Histogram,
            "From a request's head to the end of its response, in seconds.",
        );
        for (labels, (buckets, sum)) in &durations {
            text.histogram(name, &request_labels(labels)[..7], buckets, *sum);
        }
    }

    fn render_overflows(&self, text: &mut Text) {
        let now = self.start.elapsed().as_secs();
        let mut totals: BTreeMap<OverflowLabels, u64> = BTreeMap::new();
        for shard in &self.shards {
            read(&shard.overflows, now, |labels, count| {
                *totals.entry(labels.clone()).or_default() += count.get();
            });
        }
        let name = "nodeway_overflows_total";
        text.family(name, Type::Counter, "Refused because as much was under way as may be.");
        for (labels, count) in &totals {
            let labels = [
                ("backend_namespace", &*labels.backend.namespace),
                ("backend_name", &*labels.backend.name),
                ("limit", labels.limit.as_str()),
                ("of", labels.of.as_str()),
            ];
            text.sample(name, &labels, count);
        }
    }

    fn render_tcp(&self, text: &mut Text) {
        let now = self.start.elapsed().as_secs();
        let mut totals: BTreeMap<TcpLabels, [u64; 3]> = BTreeMap::new();
        let mut carried = CarriedTotals::default();
        for shard in &self.shards {
            read(&shard.tcp, now, |labels, series| {
                let total = totals.entry(labels.clone()).or_default();
                total[0] += series.connections.get();
                total[1] += series.sent.get();
                total[2] += series.received.get();
                carried.add(labels, &series.carried);
            });
        }
        let families = [
            ("nodeway_tcp_connections_total", "Connections that ended, relayed or not."),
            ("nodeway_tcp_sent_bytes_total", "Octets from clients to endpoints."),
            ("nodeway_tcp_received_bytes_total", "Octets from endpoints to clients."),
        ];
        for (i, (name, help)) in families.into_iter().enumerate() {
            text.family(name, Type::Counter, help);
            for (labels, numbers) in &totals {
                text.sample(name, &tcp_labels(labels), numbers[i]);
            }
        }
        carried.render(text);
    }

    fn render_ejections(&self, text: &mut Text) {
        let now = self.start.elapsed().as_secs();
        let mut totals: BTreeMap<EjectionLabels, u64> = BTreeMap::new();
        for shard in &self.shards {
            read(&shard.ejections, now, |labels, count| {
                *totals.entry(labels.clone()).or_default() += count.get();
            });
        }
        let name = "nodeway_endpoint_ejections_total";
        text.family(name, Type::Counter, "Endpoints left out for what became of requests.");
        for (labels, count) in &totals {
            let backend = &labels.backend;
            let labels = [
                ("backend_namespace", &*backend.namespace),
                ("backend_name", &*backend.name),
                ("cause", labels.cause),
            ];
            text.sample(name, &labels, count);
        }
    }

    fn render_counters(&self, text: &mut Text) {
        let sum = |of: fn(&WorkerCounters) -> u64| -> u64 {
            self.shards.iter().map(|shard| of(&shard.counters)).sum()
        };
        let name = "nodeway_downstream_connections_total";
        text.family(name, Type::Counter, "Connections from clients, by what they speak.");
        text.sample(name, &[("protocol", "http1")], sum(|c| c.accepted[0].get()));
        text.sample(name, &[("protocol", "http2")], sum(|c| c.accepted[1].get()));
        text.sample(name, &[("protocol", "tcp")], sum(|c| c.accepted[2].get()));
        let name = "nodeway_upstream_connects_total";
        text.family(name, Type::Counter, "Attempts to connect to an endpoint.");
        text.sample(name, &[("result", "ok")], sum(|c| c.upstream_connects.get()));
        text.sample(name, &[("result", "failed")], sum(|c| c.upstream_connect_failures.get()));
        let name = "nodeway_mirrored_requests_total";
        text.family(name, Type::Counter, "Copies of requests for mirrors, by what became of them.");
        text.sample(name, &[("result", "ok")], sum(|c| c.mirrored.get()));
        text.sample(name, &[("result", "failed")], sum(|c| c.mirrors_failed.get()));
        text.sample(name, &[("result", "dropped")], sum(|c| c.mirrors_dropped.get()));
        self.render_ejections(text);
        for (name, kind, help, value) in [
            (
                "nodeway_downstream_connections_active",
                Type::Gauge,
                "Open connections from clients.",
                sum(|c| c.active.get()),
            ),
            (
                "nodeway_unknown_destination_total",
                Type::Counter,
                "Connections closed because nobody knows whom they were for.",
                sum(|c| c.unknown_destination.get()),
            ),
            (
                "nodeway_protocol_errors_total",
                Type::Counter,
                "Requests and connections refused for breaking their protocol.",
                sum(|c| c.protocol_errors.get()),
            ),
            (
                "nodeway_retries_total",
                Type::Counter,
                "Requests sent once more, to another endpoint.",
                sum(|c| c.retries.get()),
            ),
        ] {
            text.family(name, kind, help);
            text.sample::<&str>(name, &[], value);
        }
    }
}

// === impl Used ===

impl Used {
    /// The Services that requests or connections have gone to since their series expired last.
    pub fn backends(&self) -> BTreeSet<ObjectName> {
        let now = self.start.elapsed().as_secs();
        let mut used = BTreeSet::new();
        let mut note = |backend: &Option<ObjectName>| {
            if let Some(backend) = backend
                && !used.contains(backend)
            {
                used.insert(backend.clone());
            }
        };
        for shard in &self.shards {
            read(&shard.requests, now, |labels, _| note(&labels.backend));
            read(&shard.tcp, now, |labels, _| note(&labels.backend));
        }
        used
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("shards", &self.shards.len()).finish_non_exhaustive()
    }
}

/// Namespace and name; empty for none.
fn parts(name: &Option<ObjectName>) -> (&str, &str) {
    name.as_ref().map_or(("", ""), |name| (&*name.namespace, &*name.name))
}

pub(super) fn tcp_labels(labels: &TcpLabels) -> [(&'static str, &str); 8] {
    let (route, backend) = (parts(&labels.route), parts(&labels.backend));
    [
        ("parent_namespace", &*labels.parent.namespace),
        ("parent_name", &*labels.parent.name),
        ("route_namespace", route.0),
        ("route_name", route.1),
        ("backend_namespace", backend.0),
        ("backend_name", backend.1),
        ("source_workload", &*labels.source_workload),
        ("response_flags", labels.flag.as_str()),
    ]
}

fn request_labels(labels: &RequestLabels) -> [(&'static str, std::borrow::Cow<'_, str>); 9] {
    let (route, backend) = (parts(&labels.route), parts(&labels.backend));
    [
        ("parent_namespace", (&*labels.parent.namespace).into()),
        ("parent_name", (&*labels.parent.name).into()),
        ("route_namespace", route.0.into()),
        ("route_name", route.1.into()),
        ("backend_namespace", backend.0.into()),
        ("backend_name", backend.1.into()),
        ("source_workload", (&*labels.source_workload).into()),
        ("response_code", labels.code.to_string().into()),
        ("response_flags", labels.flag.as_str().into()),
    ]
}
