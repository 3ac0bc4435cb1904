//! The composition root: the one place that knows all rooms and starts both flows.

mod carried;
mod catching;
mod workers;

use std::cell::RefCell;
use std::collections::HashSet;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use nodeway_core::snapshot::{self, CompileOptions, Compiled, Compiler, Store};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::admin::{self, Admin, Readiness, Role};
use crate::config::{Config, SourceConfig};
use crate::health::{self, Checks};
use crate::intercept::Exits;
use crate::listen::{Command, PlainListener};
use crate::runtime::{self, Clock, Listening, Published};
use crate::source::{self, Event, FolderSource, Health, KubeSource, Problem, Source};
use crate::status::{self, Status};
use crate::telemetry::{
    CheckCounters, Gauges, Metrics, StatusCounters, render_acceleration, render_backends,
    render_exits, render_source_age,
};

use self::carried::Means;
use self::catching::Catching;
use self::workers::Workers;

/// What the source has said meanwhile is compiled together, so many events at most.
const EVENTS_AT_ONCE: usize = 256;
/// Between two snapshots: a storm of changes becomes a few hundred snapshots a second, not thousands.
const REST: Duration = Duration::from_millis(5);

/// The control flow's state.
struct Control {
    store: Rc<RefCell<Store>>,
    compiler: Compiler,
    published: Arc<Published>,
    workers: Workers,
    catching: Option<Catching>,
    gauges: Arc<Gauges>,
    ready: Readiness,
    problems: HashSet<Problem>,
    health: Arc<Health>,
    status: Option<Status>,
    checks: Checks,
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
    let takeover = config.takeover;
    let open = |flag: &str, address, v6_only, n| {
        let listeners = Listening { address, v6_only, takeover }.open(n);
        listeners.with_context(|| format!("{flag} {address}"))
    };
    let metrics_listeners = open("--metrics", config.metrics, false, 1)?;
    let admin_listeners = open("--admin", config.admin, false, 1)?;
    let mut plain = Vec::new();
    for listen in &config.listen {
        plain.push((listen.clone(), open("--listen", listen.address, true, config.workers)?));
    }
    let mut catching = config.intercept.as_ref().map(Catching::start).transpose()?;
    let exits = catching.as_mut().map(|c| c.interceptor.take_exits()).transpose()?;
    let accelerated = catching.as_mut().map(Catching::accelerated).transpose()?;

    let gauges = Arc::new(Gauges::default());
    let health = Arc::new(Health::new());
    let mut metrics = metrics(&config, Arc::clone(&gauges), exits);
    if let SourceConfig::Kubernetes(_) = config.source {
        let health = Arc::clone(&health);
        metrics.collect(move |text| render_source_age(text, health.age()));
    }
    let kernel_shard = metrics.kernel();
    if let Some((acceleration, accelerated)) = accelerated {
        metrics.collect(move |text| {
            render_acceleration(text, (acceleration.on, acceleration.reason), accelerated.read());
        });
    }
    let (used, view) = (metrics.used(), Arc::clone(&published));
    metrics.collect(move |text| render_backends(text, &used, &view.load(), clock.now()));
    let status = start_status(&config, &mut metrics)?;
    let checks = start_checks(clock, &published, &mut metrics)?;
    if let Some(catching) = &mut catching {
        catching.carry(Means {
            published: Arc::clone(&published),
            clock,
            shard: kernel_shard.open(),
            uses: checks.uses.clone(),
            access_log: config.access_log,
        })?;
    }
    let metrics = Arc::new(metrics);
    let workers = Workers {
        threads: workers::spawn(&config, clock, &metrics, &published, &checks.uses)?,
        destinations: catching.as_ref().map(|c| c.interceptor.original_destinations()),
        gauges: Arc::clone(&gauges),
        notices: status.as_ref().map(Status::notices).unwrap_or_default(),
    };
    for (listen, listeners) in plain {
        for (worker, listener) in workers.threads.iter().zip(listeners) {
            let (service, port) = (listen.service.clone(), listen.port);
            worker.tell(Command::Listen(PlainListener { listener, service, port }));
        }
        tracing::info!(address = %listen.address, service = %listen.service, port = listen.port,
            "listening");
    }

    let ready = Readiness::default();
    let store = Rc::new(RefCell::new(Store::default()));
    let admin = Admin {
        metrics,
        ready: ready.clone(),
        published: Arc::clone(&published),
        store: Rc::clone(&store),
        clock,
    };
    let control = Control {
        store,
        compiler: Compiler::new(CompileOptions {
            enroll: config.enroll,
            node_name: config.node_name.as_deref().map(Into::into),
        }),
        published,
        workers,
        catching,
        gauges,
        ready,
        problems: HashSet::new(),
        health,
        status,
        checks,
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), workers = config.workers, open_files,
        metrics = %config.metrics, admin = %config.admin, "nodeway is running");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(
        &runtime,
        control_flow(&config, control, admin, metrics_listeners, admin_listeners),
    )
}

async fn control_flow(
    config: &Config,
    mut control: Control,
    admin: Admin,
    metrics_listeners: Vec<TcpListener>,
    admin_listeners: Vec<TcpListener>,
) -> anyhow::Result<()> {
    let mut operators = tokio::task::JoinSet::new();
    let metrics = metrics_listeners.into_iter().map(|listener| (listener, Role::Metrics));
    let admins = admin_listeners.into_iter().map(|listener| (listener, Role::Admin));
    for (listener, role) in metrics.chain(admins) {
        operators.spawn_local(admin::serve(listener, role, admin.clone()));
    }
    if let Some(catching) = &mut control.catching
        && tracing::enabled!(tracing::Level::DEBUG)
    {
        operators.spawn_local(catching.interceptor.logger()?.run());
    }
    let (events, mut source) = mpsc::channel(EVENTS_AT_ONCE);
    let mut source_thread = Some(start_source(config, &control.health, events)?);
    let (mut events, mut rested) = (Vec::new(), Instant::now());
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        let again = control.catching.as_ref().map(Catching::next);
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
            () = runtime::until(again) => if let Some(catching) = &mut control.catching {
                catching.proceed(&mut control.workers);
            },
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
        let (start, mut told) = (Instant::now(), false);
        for Event { changes, problems } in events {
            if let Some(problems) = problems {
                self.tell(problems);
                told = true;
            }
            for change in changes {
                self.store.borrow_mut().apply(change);
            }
        }
        let compiled = self.compiler.compile(&mut self.store.borrow_mut());
        if let Some(compiled) = compiled {
            self.put_in_force(compiled, start);
        }
        if let Some(status) = self.status.as_ref().filter(|_| told) {
            status
                .problems(self.problems.iter().filter(|problem| problem.about.is_some()).cloned());
        }
        if !self.ready.get() {
            if let Some(catching) = &mut self.catching {
                catching.interceptor.take_over();
            }
            self.ready.set(true);
        }
    }

    fn put_in_force(&mut self, compiled: Compiled, start: Instant) {
        let Compiled { snapshot, touched, pods, problems, left, .. } = compiled;
        if problems {
            let former = self.published.load();
            let known: HashSet<&snapshot::Problem> = former.problems().iter().collect();
            for problem in snapshot.problems().iter().filter(|problem| !known.contains(problem)) {
                tracing::warn!("{problem}");
            }
        }
        self.published.publish(Arc::clone(&snapshot));
        self.workers.leave(left);
        if let Some(catching) = &mut self.catching {
            let (frontends, carried) = catching.frontends(&snapshot, touched);
            self.gauges.frontends(frontends, carried);
            if pods {
                catching.want(snapshot.pods(), &mut self.workers);
                catching.proceed(&mut self.workers);
            }
        }
        if let Some(status) = &self.status {
            status.know(&snapshot);
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
        if let Some(status) = &mut self.status {
            status.end();
        }
        if let Some(catching) = &mut self.catching {
            catching.clear(&mut self.workers);
        }
        self.workers.drain(patience).await;
        drop(self.catching);
        drop(self.status);
        self.checks.end();
        tracing::info!("ended");
        Ok(())
    }
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

/// What is said of objects goes back to the API, if they come from there. Who catches nobody has no say.
fn start_status(config: &Config, metrics: &mut Metrics) -> anyhow::Result<Option<Status>> {
    let (SourceConfig::Kubernetes(kubeconfig), Some(_), Some(node)) =
        (&config.source, &config.intercept, &config.node_name)
    else {
        return Ok(None);
    };
    let counters = Arc::new(StatusCounters::default());
    let counted = Arc::clone(&counters);
    metrics.collect(move |text| counted.render(text));
    let (kubeconfig, node) = (kubeconfig.clone(), node.clone());
    let settings = status::Settings { kubeconfig, node, ..status::Settings::default() };
    Status::start(settings, counters).context("starting the status thread").map(Some)
}

/// Asks endpoints how they are, where their policy says so.
fn start_checks(
    clock: Clock,
    published: &Arc<Published>,
    metrics: &mut Metrics,
) -> anyhow::Result<Checks> {
    let counters = Arc::new(CheckCounters::new());
    let counted = Arc::clone(&counters);
    metrics.collect(move |text| counted.render(text));
    health::start(clock, Arc::clone(published), counters).context("starting the health thread")
}

fn why_it_ended(source: Option<JoinHandle<anyhow::Result<()>>>) -> anyhow::Error {
    match source.map(JoinHandle::join) {
        Some(Ok(Err(error))) => error,
        Some(Err(_)) => anyhow::anyhow!("the source has panicked"),
        Some(Ok(Ok(()))) | None => anyhow::anyhow!("the source has ended"),
    }
}
