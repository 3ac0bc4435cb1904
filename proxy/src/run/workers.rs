//! The worker threads as the control flow knows them, and what it says of the pods they serve.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use nodeway_core::balance::EndpointId;
use nodeway_core::model::{Kind, Pod};
use tokio::sync::mpsc;

use crate::config::Config;
use crate::intercept::{Attach, OriginalDestinations, PodNetns, WorkerListeners};
use crate::listen::{Command, PodAttachment, run_worker};
use crate::runtime::{self, Clock, Published, Worker, WorkerThread};
use crate::status::{Notice, Notices, Subject, Tone};
use crate::telemetry::{Gauges, Metrics, ShardSeed};
use crate::upstream::Use;

/// The worker threads.
pub(super) struct Workers {
    pub(super) threads: Vec<WorkerThread<Command>>,
    pub(super) destinations: Option<OriginalDestinations>,
    pub(super) gauges: Arc<Gauges>,
    pub(super) notices: Notices,
}

// === impl Workers ===

impl Workers {
    /// Has them keep no connections to these endpoints.
    pub(super) fn leave(&self, endpoints: Vec<EndpointId>) {
        if endpoints.is_empty() {
            return;
        }
        let endpoints: Arc<[EndpointId]> = endpoints.into();
        for worker in &self.threads {
            worker.tell(Command::Leave(Arc::clone(&endpoints)));
        }
    }

    /// Has them finish what is under way, for so long at most, and waits for their ends.
    pub(super) async fn drain(self, patience: Duration) {
        for worker in &self.threads {
            worker.tell(Command::Drain(patience));
        }
        while !self.threads.iter().all(WorkerThread::ended) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for worker in self.threads {
            if worker.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }
}

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

    fn caught(&mut self, pod: &Pod, after: Option<Duration>) {
        if let Some(after) = after {
            self.gauges.pod_enrolled(after);
        }
        self.notices.tell(Notice {
            about: subject(pod),
            tone: Tone::Recovered,
            reason: "Enrolled",
            message: "its connections to Services are served by the mesh".to_owned(),
        });
    }

    fn missed(&mut self, pod: &Pod, reason: &str) {
        self.notices.tell(Notice {
            about: subject(pod),
            tone: Tone::Warning,
            reason: "NotEnrolled",
            message: format!("its traffic flows as if there were no mesh: {reason}"),
        });
    }
}

/// A mirror pod's UID is not that by which the API knows it.
fn subject(pod: &Pod) -> Subject {
    let uid = (!pod.mirror).then(|| Arc::clone(&pod.uid));
    Subject { kind: Kind::Pod, name: pod.name.clone(), uid }
}

/// Starts them.
///
/// # Errors
/// The system has no threads left.
pub(super) fn spawn(
    config: &Config,
    clock: Clock,
    metrics: &Metrics,
    published: &Arc<Published>,
    uses: &mpsc::Sender<Use>,
) -> anyhow::Result<Vec<WorkerThread<Command>>> {
    let spawn = |(index, shard): (usize, ShardSeed)| {
        let (published, access_log) = (Arc::clone(published), config.access_log);
        let uses = uses.clone();
        runtime::spawn(format!("worker-{index}"), move |commands| {
            let worker = Worker::new(clock, shard.open(), published, access_log);
            run_worker(worker.into(), uses, commands)
        })
        .with_context(|| format!("starting worker {index}"))
    };
    metrics.shards().into_iter().enumerate().map(spawn).collect()
}
