//! The thread that all this happens on, and the way to it.
//!
//! Not on the control flow's own: an API that is slow to answer must not keep pods from being enrolled.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use nodeway_core::snapshot::Snapshot;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio::time::sleep;

use super::Input;
use super::board::Pace;
use super::election::Candidate;
use super::events::Poster;
use super::lead::{LOOK, Leader};
use super::lease::Timing;
use super::mesh;
use super::notice::{Notice, Notices};
use super::troubles::{Scope, Troubles};
use crate::source::kube::access::Access;
use crate::source::{Problem, connect};
use crate::telemetry::StatusCounters;

/// How status is written.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The way to the API; none as a pod in the cluster, else by KUBECONFIG.
    pub kubeconfig: Option<PathBuf>,
    /// This node's name.
    pub node: String,
    /// How the leader is elected.
    pub timing: Timing,
    /// How fast status is written.
    pub pace: Pace,
}

/// The running thread. It ends, and has ended, with this: the lease is given back then.
#[derive(Debug)]
pub struct Status {
    /// None once it is to end.
    input: Option<watch::Sender<Input>>,
    notices: Notices,
    thread: Option<JoinHandle<()>>,
}

// === impl Status ===

impl Status {
    /// Starts it. It does nothing before it knows a snapshot.
    ///
    /// # Errors
    /// The thread or its event loop cannot be made.
    pub fn start(settings: Settings, counters: Arc<StatusCounters>) -> io::Result<Self> {
        let (notices, noticed) = Notices::new(Arc::clone(&counters));
        let (input, inputs) = watch::channel(Input::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("status".to_owned()).spawn({
            let notices = notices.clone();
            move || {
                let run = run(settings, counters, inputs, notices, noticed);
                if let Err(error) = LocalSet::new().block_on(&runtime, run) {
                    tracing::error!("no route status is written from here: {error:#}");
                }
            }
        })?;
        Ok(Self { input: Some(input), notices, thread: Some(thread) })
    }

    /// This is in force now.
    pub fn know(&self, snapshot: &Arc<Snapshot>) {
        let Some(input) = &self.input else { return };
        input.send_modify(|input| {
            input.begun = true;
            input.snapshot = Arc::clone(snapshot);
        });
    }

    /// This is wrong with objects now.
    pub fn problems(&self, problems: impl Iterator<Item = Problem>) {
        let Some(input) = &self.input else { return };
        let problems: Arc<[Problem]> = problems.collect();
        input.send_modify(|input| input.problems = problems);
    }

    /// The way to tell users of something.
    pub fn notices(&self) -> Notices {
        self.notices.clone()
    }

    /// Has it end, without waiting for that.
    pub fn end(&mut self) {
        self.input = None;
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        self.end();
        // Soon: nothing is waited for but the lease's return, and that not for long.
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that writes route status panicked");
        }
    }
}

async fn run(
    settings: Settings,
    counters: Arc<StatusCounters>,
    mut input: watch::Receiver<Input>,
    notices: Notices,
    noticed: mpsc::Receiver<Notice>,
) -> anyhow::Result<()> {
    let access = Rc::new(Access::new(connect(settings.kubeconfig.as_deref()).await?)?);
    if input.wait_for(|input| input.begun).await.is_err() {
        return Ok(());
    }
    let Settings { node, timing, pace, .. } = settings;
    let poster = Poster::new(Rc::clone(&access), node.clone(), Arc::clone(&counters));
    let mut candidate = Candidate::new(Rc::clone(&access), &node, timing, Arc::clone(&counters));
    let tenure = candidate.tenure();
    let leader = || Leader {
        access: Rc::clone(&access),
        tenure: tenure.clone(),
        input: input.clone(),
        notices: notices.clone(),
        counters: Arc::clone(&counters),
        pace,
    };
    let govern = async {
        loop {
            candidate.win().await;
            tokio::select! {
                () = candidate.hold() => {}
                // Only a fault ends it, or the end.
                () = leader().run() => sleep(timing.retry).await,
                () = mesh::tell(Rc::clone(&access), tenure.clone(), Arc::clone(&counters)) => {}
            }
        }
    };
    tokio::select! {
        () = govern => {}
        () = poster.run(noticed) => {}
        () = own_troubles(input.clone(), notices.clone()) => {}
    }
    candidate.release().await;
    Ok(())
}

/// Tells of what is wrong with this node's own objects, until the end.
async fn own_troubles(mut input: watch::Receiver<Input>, notices: Notices) {
    let mut troubles = Troubles::new(Scope::Node);
    loop {
        let now = input.borrow_and_update().clone();
        troubles.now(&now).into_iter().for_each(|notice| notices.tell(notice));
        sleep(LOOK).await;
        if input.changed().await.is_err() {
            return;
        }
    }
}
