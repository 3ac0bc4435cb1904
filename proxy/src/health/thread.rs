//! The thread that asks.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use nodeway_core::balance::{Change, Millis};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Outcome;
use super::plan::{Finished, Plan, Task};
use super::probe::{Question, ask};
use crate::runtime::{self, Clock, Published, Signal, Worker, WorkerThread};
use crate::telemetry::{CheckCounters, CheckResult, Metrics, tell_changes, tell_panic};
use crate::upstream::{Client, Place, Use};

/// Uses that are not taken in yet; more are lost, and told again.
const MOST_USES: usize = 4096;
/// How soon a new snapshot is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Of a backend that cannot be asked as its policy says, and of checks that are late, it is told so often.
const TELL_EVERY_MILLIS: u64 = 600_000;

/// The running thread; it ends with this.
#[derive(Debug)]
pub struct Checks {
    /// Tells it what clients use.
    pub uses: mpsc::Sender<Use>,
    thread: WorkerThread<()>,
}

/// What the thread has.
struct Checker {
    /// As a worker that serves nobody: what it connects is not counted as requests' connections are.
    worker: Rc<Worker>,
    plan: Plan<Place>,
    random: fastrand::Rng,
    counters: Arc<CheckCounters>,
    /// The snapshot that the plan is in line with, and when it was looked whether clients are left.
    seen: (u64, Millis),
    told: HashMap<u64, Millis, RandomState>,
}

/// Starts it.
///
/// # Errors
/// The system has no threads left.
pub fn start(
    clock: Clock,
    published: Arc<Published>,
    counters: Arc<CheckCounters>,
) -> io::Result<Checks> {
    let (uses, used) = mpsc::channel(MOST_USES);
    let thread = runtime::spawn("health".to_owned(), move |end| {
        let shard = Metrics::new(1).shards().pop();
        let checker = shard.map(|shard| Checker {
            worker: Worker::new(clock, shard.open(), published, false).into(),
            plan: Plan::new(clock.now()),
            random: fastrand::Rng::new(),
            counters,
            seen: (0, clock.now()),
            told: HashMap::default(),
        });
        async {
            if let Some(checker) = checker {
                checker.run(used, end).await;
            }
        }
    })?;
    Ok(Checks { uses, thread })
}

// === impl Checks ===

impl Checks {
    /// Asks nobody any more.
    pub fn end(self) {
        if self.thread.join().is_err() {
            tracing::error!("the thread of health checks panicked");
        }
    }
}

// === impl Checker ===

impl Checker {
    async fn run(mut self, mut uses: mpsc::Receiver<Use>, mut end: mpsc::UnboundedReceiver<()>) {
        let mut running = JoinSet::new();
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            while let Some(task) = self.plan.begin(self.now()) {
                self.note_late(&task);
                running.spawn_local(self.check(task));
            }
            let wakes = self.plan.wakes().map(|at| self.wait_for(at));
            tokio::select! {
                _ = end.recv() => return,
                used = uses.recv() => match used {
                    Some(used) => self.take(used),
                    None => return,
                },
                Some(ended) = running.join_next() => if let Ok((task, outcome)) = ended
                    && let Some(again) = self.finish(task, &outcome)
                {
                    running.spawn_local(self.check(again));
                },
                _ = looks.tick(), if !self.plan.is_idle() => self.look(),
                () = sleep(wakes) => {}
            }
        }
    }

    fn now(&self) -> Millis {
        self.worker.clock.now()
    }

    fn wait_for(&self, at: Millis) -> Duration {
        Duration::from_millis(at.0.saturating_sub(self.now().0))
    }

    fn take(&mut self, used: Use) {
        let Use { service, port, backend, place, requests } = used;
        let (now, view) = (self.now(), self.worker.view());
        let frontend = view.service_port(&service, port);
        let external = frontend.and_then(|frontend| frontend.external());
        let external = external.filter(|external| external.id == backend);
        let found = external.or_else(|| frontend.map(|frontend| &frontend.backend));
        let found = (found, external.is_some());
        self.plan.used((service, port), found, (place, requests), now, &mut self.random);
    }

    /// Takes a new snapshot in, and once a second what has become of clients.
    fn look(&mut self) {
        let (now, view) = (self.now(), self.worker.view());
        let (generation, at) = self.seen;
        if view.generation() == generation && now.0.saturating_sub(at.0) < 1000 {
            return;
        }
        self.seen = (view.generation(), now);
        let find = |port: &(_, u16), external: bool| {
            let frontend = view.service_port(&port.0, port.1)?;
            let external = frontend.external().filter(|_| external);
            Some(Arc::clone(external.unwrap_or(&frontend.backend)))
        };
        self.plan.refresh(view.nodes(), find, now, &mut self.random);
    }

    /// One check, as a task: it holds neither the pod's namespace nor anything of the plan.
    fn check(&self, task: Task<Place>) -> impl Future<Output = (Task<Place>, Outcome)> + 'static {
        let worker = Rc::clone(&self.worker);
        async move {
            let outcome = match task.place.open() {
                Ok(netns) => {
                    let client = Client::new(None, "health".into(), netns, Signal::default());
                    let question = Question {
                        address: task.endpoint.address,
                        service: task.backend.service.clone(),
                        protocol: task.backend.protocol,
                        tls: task.backend.tls().cloned(),
                        check: task.check.clone(),
                    };
                    // Apart, so that a panic ends a check and not the endpoint's turns.
                    let asking = async move { ask(&worker, client, &question).await };
                    let asked = tokio::task::spawn_local(asking).await;
                    asked.unwrap_or_else(|error| Outcome::Unasked(error.to_string()))
                }
                Err(gone) => Outcome::Unasked(gone.to_string()),
            };
            (task, outcome)
        }
    }

    fn finish(&mut self, task: Task<Place>, outcome: &Outcome) -> Option<Task<Place>> {
        let now = self.now();
        let (backend, address) = (Arc::clone(&task.backend), task.endpoint.address);
        let service = &backend.service;
        let (result, why) = match outcome {
            Outcome::Well => (CheckResult::Ok, ""),
            Outcome::Unfit(why) => (CheckResult::Unfit, &**why),
            Outcome::Ill(why) => (CheckResult::Failed, &**why),
            Outcome::Unreached(why) => (CheckResult::Unreached, &**why),
            Outcome::Unasked(why) => (CheckResult::Unasked, &**why),
        };
        self.counters.checked(service, result);
        if result == CheckResult::Unfit && self.may_tell(backend.id, now) {
            tracing::warn!(%service, port = backend.port, endpoint = %address, why,
                "health checks do not fit the endpoints, which count as well");
        } else if result != CheckResult::Ok {
            tracing::debug!(%service, endpoint = %address, why, "a health check has failed");
        }
        let port = Arc::clone(&task.port);
        let Finished { again, event, cut_off } =
            self.plan.finished(task, outcome, now, &mut self.random);
        if let Some(cookie) = cut_off {
            tracing::warn!(%service, endpoint = %address, netns_cookie = cookie,
                "a pod does not reach an endpoint that another one reaches (a network policy?): \
                 health checks avoid it");
        }
        // As it is now: others may have asked for its endpoints since this check began.
        let Some(backend) = self.plan.backend(&port) else { return again };
        match event {
            Some(event) => {
                let well = matches!(event.change, Change::Well { .. });
                self.counters.changed(service, well);
                tell_changes(backend, now, &[event], (!well).then_some(why));
            }
            // What could not be told when it changed is told later.
            None => tell_panic(backend, now),
        }
        again
    }

    fn note_late(&mut self, task: &Task<Place>) {
        if task.late {
            self.counters.late();
            if self.may_tell(0, self.now()) {
                tracing::warn!(
                    "health checks are late: there are too many endpoints for their intervals"
                );
            }
        }
    }

    /// Whether it is time to tell of this again.
    fn may_tell(&mut self, what: u64, now: Millis) -> bool {
        self.told.retain(|_, told| now.0.saturating_sub(told.0) < TELL_EVERY_MILLIS);
        let new = !self.told.contains_key(&what);
        if new {
            self.told.insert(what, now);
        }
        new
    }
}

async fn sleep(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}
