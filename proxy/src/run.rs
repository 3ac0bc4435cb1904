//! The composition root: the one place that knows all rooms and starts both flows.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use nodeway_core::model::Pod;
use nodeway_core::snapshot::{self, CompileOptions, Compiled, Compiler, Store};
use nodeway_ebpf::Mode;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::admin::{self, Admin, Readiness, Role};
use crate::config::{Config, SourceConfig};
use crate::intercept::{
    Attach, Enrolment, Exits, Interceptor, OriginalDestinations, PodNetns, WorkerListeners,
};
use crate::listen::{Command, PlainListener, PodAttachment, open_plain, run_worker};
use crate::runtime::{self, Clock, Published, Worker, WorkerThread};
use crate::source::{self, Event, FolderSource, Health, KubeSource, Problem, Source};
use crate::telemetry::{Gauges, Metrics, ShardSeed, render_exits, render_source_age};

/// How long after a failure pods that could not be enrolled are tried again.
const ENROL_AGAIN: Duration = Duration::from_secs(1);
/// How often it is looked whether enrolled pods' namespaces are still where they were.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What the source has said meanwhile is compiled together, so many events at most.
const EVENTS_AT_ONCE: usize = 256;
/// Between two snapshots: a storm of changes becomes a few hundred snapshots a second, not thousands.
const REST: Duration = Duration::from_millis(5);

/// The worker threads.
struct Workers {
    threads: Vec<WorkerThread<Command>>,
    destinations: Option<OriginalDestinations>,
}

/// The control flow's state.
struct Control {
    store: Store,
    compiler: Compiler,
    published: Arc<Published>,
    workers: Workers,
    interceptor: Option<Interceptor>,
    enrolment: Enrolment,
    gauges: Arc<Gauges>,
    ready: Readiness,
    problems: HashSet<Problem>,
    health: Arc<Health>,
}

/// Runs the node's proxy until SIGTERM or SIGINT.
///
/// # Errors
/// Something that it cannot start without.
pub fn run(config: Config) -> anyhow::Result<()> {
    let open_files = runtime::raise_open_files();
    let clock = Clock::start();
    let published = Arc::new(Published::new());
    // Addresses first: a second instance fails here, before it touches anything.
    let metrics_listener = bind(config.metrics, "--metrics")?;
    let admin_listener = bind(config.admin, "--admin")?;
    let mut plain = Vec::new();
    for listen in &config.listen {
        let listeners = open_plain(listen.address, config.workers)
            .with_context(|| format!("--listen {}", listen.address))?;
        plain.push((listen.clone(), listeners));
    }
    let mut interceptor = config.intercept.as_ref().map(Interceptor::start).transpose()?;
    let exits = interceptor.as_mut().map(Interceptor::take_exits).transpose()?;

    let gauges = Arc::new(Gauges::default());
    let health = Arc::new(Health::new());
    let mut metrics = metrics(&config, Arc::clone(&gauges), exits);
    if let SourceConfig::Kubernetes(_) = config.source {
        let health = Arc::clone(&health);
        metrics.collect(move |text| render_source_age(text, health.age()));
    }
    let metrics = Arc::new(metrics);
    let destinations = interceptor.as_ref().map(Interceptor::original_destinations);
    let workers =
        Workers { threads: spawn_workers(&config, clock, &metrics, &published)?, destinations };
    for (listen, listeners) in plain {
        for (worker, listener) in workers.threads.iter().zip(listeners) {
            let (service, port) = (listen.service.clone(), listen.port);
            worker.tell(Command::Listen(PlainListener { listener, service, port }));
        }
        tracing::info!(address = %listen.address, service = %listen.service, port = listen.port,
            "listening");
    }

    let ready = Readiness::default();
    let admin = Admin { metrics, ready: ready.clone(), published: Arc::clone(&published), clock };
    let control = Control {
        store: Store::default(),
        compiler: Compiler::new(CompileOptions {
            enroll: config.enroll,
            node_name: config.node_name.as_deref().map(Into::into),
        }),
        published,
        workers,
        interceptor,
        enrolment: Enrolment::default(),
        gauges,
        ready,
        problems: HashSet::new(),
        health,
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), workers = config.workers, open_files,
        metrics = %config.metrics, admin = %config.admin, "nodeway is running");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new()
        .block_on(&runtime, control_flow(&config, control, admin, metrics_listener, admin_listener))
}

async fn control_flow(
    config: &Config,
    mut control: Control,
    admin: Admin,
    metrics_listener: TcpListener,
    admin_listener: TcpListener,
) -> anyhow::Result<()> {
    let mut operators = tokio::task::JoinSet::new();
    operators.spawn_local(admin::serve(metrics_listener, Role::Metrics, admin.clone()));
    operators.spawn_local(admin::serve(admin_listener, Role::Admin, admin));
    if let Some(interceptor) = &mut control.interceptor
        && tracing::enabled!(tracing::Level::DEBUG)
    {
        operators.spawn_local(interceptor.logger()?.run());
    }
    let (events, mut source) = mpsc::channel(EVENTS_AT_ONCE);
    let mut source_thread = Some(start_source(config, &control.health, events)?);
    let (mut events, mut rested) = (Vec::new(), Instant::now());
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        let (enrolled, failed) = control.enrolment.count();
        let again = if failed > 0 { ENROL_AGAIN } else { LOOK_AGAIN };
        let resting = Instant::now() < rested;
        tokio::select! {
            n = source.recv_many(&mut events, EVENTS_AT_ONCE), if !resting => {
                if n == 0 {
                    return Err(why_it_ended(source_thread.take()));
                }
                control.take(events.drain(..));
                rested = Instant::now() + REST;
            }
            () = tokio::time::sleep_until(rested.into()), if resting => {}
            () = tokio::time::sleep(again), if enrolled + failed > 0 => control.enrol(),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            Some(ended) = operators.join_next() => {
                ended.context("an operators' endpoint")?.context("an operators' endpoint")?;
            }
        }
    }
    tracing::info!(at_most = ?config.drain_timeout, "draining; a second signal ends at once");
    let drained = control.drain(config.drain_timeout);
    tokio::select! {
        drained = drained => drained,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

// === impl Control ===

impl Control {
    /// Brings a source's event into force, in an order in which nobody is ever sent to what is not
    /// there yet: workers know a frontend before the kernel does, the kernel before pods are enrolled.
    fn take(&mut self, events: impl Iterator<Item = Event>) {
        let start = Instant::now();
        for Event { changes, problems } in events {
            if let Some(problems) = problems {
                self.tell(problems);
            }
            for change in changes {
                self.store.apply(change);
            }
        }
        if let Some(compiled) = self.compiler.compile(&mut self.store) {
            self.put_in_force(compiled, start);
        }
        self.ready.set(true);
    }

    fn put_in_force(&mut self, compiled: Compiled, start: Instant) {
        let Compiled { snapshot, frontends, pods, problems } = compiled;
        if problems {
            let former = self.published.load();
            let known: HashSet<&snapshot::Problem> = former.problems().iter().collect();
            for problem in snapshot.problems().iter().filter(|problem| !known.contains(problem)) {
                tracing::warn!("{problem}");
            }
        }
        self.published.publish(Arc::clone(&snapshot));
        if let Some(interceptor) = &mut self.interceptor {
            let mode = |address| snapshot.frontend(address).map(|_| Mode::L7);
            let changes = frontends.into_iter().map(|address| (address, mode(address)));
            if let Err(error) = interceptor.change_frontends(changes) {
                tracing::error!(%error, "some Services are not caught");
            }
            self.gauges.frontends(interceptor.frontends());
        }
        if pods {
            self.enrol();
        }
        self.gauges.compiled(start.elapsed(), snapshot.problems().len());
        tracing::debug!(generation = self.published.generation(), took = ?start.elapsed(),
            frontends = snapshot.frontend_count(), pods = snapshot.pods().len(),
            "a new state is in force");
        if !self.ready.get() {
            tracing::info!(took = ?start.elapsed(), frontends = snapshot.frontend_count(),
                pods = snapshot.pods().len(), "the first state is in force");
        }
    }

    fn enrol(&mut self) {
        let Some(interceptor) = &mut self.interceptor else { return };
        let snapshot = self.published.load();
        let workers = self.workers.threads.len();
        self.enrolment.reconcile(snapshot.pods(), workers, interceptor, &mut self.workers);
        let (enrolled, failed) = self.enrolment.count();
        self.gauges.pods(enrolled, failed);
    }

    /// Says what is wrong with objects, each thing once.
    fn tell(&mut self, problems: Vec<Problem>) {
        for problem in problems.iter().filter(|problem| !self.problems.contains(problem)) {
            tracing::error!("{problem}");
        }
        if problems.is_empty() && !self.problems.is_empty() {
            tracing::info!("all objects are good again");
        }
        self.gauges.object_problems(problems.len());
        self.problems = problems.into_iter().collect();
    }

    /// Ends in order: the kernel stops redirecting, what is under way finishes, the programs go.
    async fn drain(mut self, patience: Duration) -> anyhow::Result<()> {
        self.ready.set(false);
        if let Some(interceptor) = &mut self.interceptor {
            self.enrolment.clear(interceptor, &mut self.workers);
        }
        for worker in &self.workers.threads {
            worker.tell(Command::Drain(patience));
        }
        while !self.workers.threads.iter().all(WorkerThread::ended) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for worker in self.workers.threads {
            if worker.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
        drop(self.interceptor);
        tracing::info!("ended");
        Ok(())
    }
}

// === impl Workers ===

impl Attach for Workers {
    fn attach(&mut self, pod: &Arc<Pod>, netns: &Arc<PodNetns>, listeners: Vec<WorkerListeners>) {
        let Some(destinations) = &self.destinations else { return };
        for (worker, listeners) in self.threads.iter().zip(listeners) {
            worker.tell(Command::Attach(Box::new(PodAttachment {
                pod: Arc::clone(pod),
                netns: Arc::clone(netns),
                listeners,
                destinations: destinations.clone(),
            })));
        }
    }

    fn detach(&mut self, cookie: u64) {
        for worker in &self.threads {
            worker.tell(Command::Detach(cookie));
        }
    }
}

fn spawn_workers(
    config: &Config,
    clock: Clock,
    metrics: &Metrics,
    published: &Arc<Published>,
) -> anyhow::Result<Vec<WorkerThread<Command>>> {
    let spawn = |(index, shard): (usize, ShardSeed)| {
        let (published, access_log) = (Arc::clone(published), config.access_log);
        runtime::spawn(format!("worker-{index}"), move |commands| {
            run_worker(Worker::new(clock, shard.open(), published, access_log).into(), commands)
        })
        .with_context(|| format!("starting worker {index}"))
    };
    metrics.shards().into_iter().enumerate().map(spawn).collect()
}

fn metrics(config: &Config, gauges: Arc<Gauges>, exits: Option<Exits>) -> Metrics {
    let mut metrics = Metrics::new(config.workers);
    metrics.collect(move |text| gauges.render(text));
    if let Some(exits) = exits {
        metrics.collect(move |text| {
            let counts = exits.read().map(|(exit, count)| (exit.name(), count));
            render_exits(text, &counts);
        });
    }
    metrics
}

/// Starts the source on a thread of its own: reading a cluster's objects must not keep operators waiting.
fn start_source(
    config: &Config,
    health: &Arc<Health>,
    events: mpsc::Sender<Event>,
) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name("source".to_owned());
    let started = match &config.source {
        SourceConfig::Folder(folder) => {
            let source = FolderSource { folder: folder.clone() };
            thread.spawn(move || LocalSet::new().block_on(&runtime, source.run(events)))
        }
        SourceConfig::Kubernetes(kubeconfig) => {
            let (kubeconfig, node_name) = (kubeconfig.clone(), config.node_name.clone());
            let health = Arc::clone(health);
            thread.spawn(move || {
                LocalSet::new().block_on(&runtime, async move {
                    let config = source::connect(kubeconfig.as_deref()).await?;
                    KubeSource { config, node_name, health }.run(events).await
                })
            })
        }
    };
    started.context("starting the source")
}

fn why_it_ended(source: Option<JoinHandle<anyhow::Result<()>>>) -> anyhow::Error {
    match source.map(JoinHandle::join) {
        Some(Ok(Err(error))) => error,
        Some(Err(_)) => anyhow::anyhow!("the source has panicked"),
        Some(Ok(Ok(()))) | None => anyhow::anyhow!("the source has ended"),
    }
}

fn bind(address: std::net::SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).with_context(|| format!("{flag} {address}"))
}
