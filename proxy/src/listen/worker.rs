//! A worker thread's life: what it is told to serve, and its end.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use nodeway_core::balance::EndpointId;
use nodeway_core::model::Pod;
use nodeway_core::snapshot::hash_of_source;
use tokio::sync::mpsc::{Sender, UnboundedReceiver};

use super::accept::{Destination, accept, adopt};
use super::plain::PlainListener;
use crate::intercept::{OriginalDestinations, PodNetns, WorkerListeners};
use crate::runtime::{Signal, Worker};
use crate::upstream::{self, Client, Use};

/// How often a draining worker looks whether its connections have ended.
const DRAIN_TICK: Duration = Duration::from_millis(10);

/// What a worker is told.
#[derive(Debug)]
pub enum Command {
    /// Serve a pod.
    Attach(Box<PodAttachment>),
    /// Serve the pod with this namespace cookie no longer: finish what is under way.
    Detach(u64),
    /// Serve a plain listener.
    Listen(PlainListener),
    /// Keep no connections to these endpoints.
    Leave(Arc<[EndpointId]>),
    /// Take nothing new, finish what is under way for at most so long, end.
    Drain(Duration),
}

/// A pod, as one worker is to serve it.
#[derive(Debug)]
pub struct PodAttachment {
    /// The pod.
    pub pod: Arc<Pod>,
    /// Its network namespace.
    pub netns: Arc<PodNetns>,
    /// This worker's listeners in it.
    pub listeners: WorkerListeners,
    /// Whom its connections are for.
    pub destinations: OriginalDestinations,
}

/// Serves what `commands` says until told to drain, or until nobody can tell it anything. What its clients
/// use goes to `uses`, where it matters.
pub async fn run_worker(
    worker: Rc<Worker>,
    uses: Sender<Use>,
    mut commands: UnboundedReceiver<Command>,
) {
    let mut pods: HashMap<u64, Signal> = HashMap::new();
    let mut patience = Duration::ZERO;
    while let Some(command) = commands.recv().await {
        match command {
            Command::Attach(attachment) => {
                let cookie = attachment.netns.cookie();
                let closing = attach(&worker, &uses, *attachment);
                if let Some(former) = pods.insert(cookie, closing) {
                    former.fire();
                }
            }
            Command::Detach(cookie) => {
                if let Some(closing) = pods.remove(&cookie) {
                    closing.fire();
                }
            }
            Command::Leave(endpoints) => upstream::leave(&endpoints),
            Command::Listen(plain) => listen(&worker, &uses, plain),
            Command::Drain(for_at_most) => {
                patience = for_at_most;
                break;
            }
        }
    }
    drain(&worker, &pods, patience).await;
}

fn attach(worker: &Rc<Worker>, uses: &Sender<Use>, attachment: PodAttachment) -> Signal {
    let PodAttachment { pod, netns, listeners, destinations } = attachment;
    let closing = Signal::default();
    let cookie = netns.cookie();
    let source = pod.ips.first().copied().map(hash_of_source);
    let client = Client::new(
        Some(Arc::clone(&pod.name.namespace)),
        Arc::clone(&pod.workload),
        Some(netns),
        closing.clone(),
    );
    client.tell_uses(uses.clone());
    for listener in [Some(listeners.v4), listeners.v6].into_iter().flatten() {
        match adopt(listener) {
            Ok(listener) => {
                let destinations = destinations.clone();
                let destination = Destination::Noted { cookie, source, destinations };
                let accepting = accept(
                    Rc::clone(worker),
                    Rc::clone(&client),
                    listener,
                    destination,
                    closing.clone(),
                );
                tokio::task::spawn_local(accepting);
            }
            Err(error) => tracing::error!(pod = %pod.name, %error, "cannot serve the pod"),
        }
    }
    closing
}

fn listen(worker: &Rc<Worker>, uses: &Sender<Use>, plain: PlainListener) {
    let PlainListener { listener, service, port } = plain;
    let closing = worker.closing.clone();
    let workload = Arc::from("plain");
    let client = Client::new(None, workload, None, closing.clone());
    client.tell_uses(uses.clone());
    match adopt(listener) {
        Ok(listener) => {
            let destination = Destination::Fixed(service, port);
            let accepting = accept(Rc::clone(worker), client, listener, destination, closing);
            tokio::task::spawn_local(accepting);
        }
        Err(error) => tracing::error!(%service, port, %error, "cannot serve a plain listener"),
    }
}

async fn drain(worker: &Worker, pods: &HashMap<u64, Signal>, patience: Duration) {
    worker.closing.fire();
    pods.values().for_each(Signal::fire);
    let ended = async {
        // Connections that wait to be accepted count too: give them the time of one linger.
        tokio::time::sleep(DRAIN_TICK * 15).await;
        while worker.metrics.counters.active.get() > 0 {
            tokio::time::sleep(DRAIN_TICK).await;
        }
    };
    if tokio::time::timeout(patience, ended).await.is_err() {
        let left = worker.metrics.counters.active.get();
        if left > 0 {
            tracing::warn!(left, "the drain timeout is over: connections are cut");
        }
    }
}
