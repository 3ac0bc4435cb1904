//! What the leader does: it watches the routes, and writes the status of those that say something else
//! than the snapshot.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use nodeway_core::model::Kind;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use super::board::{Board, Failure, Pace, Refusal, Write};
use super::election::Tenure;
use super::notice::{Notice, Notices, Subject, Tone};
use super::parents::Verdict;
use super::route::RouteReader;
use super::time::seconds;
use super::troubles::{Scope, Troubles};
use super::{Input, MERGE_PATCH};
use crate::runtime::until;
use crate::source::kube::access::{Access, Trouble};
use crate::source::kube::resource::Resource;
use crate::source::kube::watch::Watch;
use crate::telemetry::{StatusCounters, StatusWrite};

/// Snapshots are looked at so often at most.
pub(super) const LOOK: Duration = Duration::from_millis(250);
/// Writes under way at once: one that is not answered does not hold up the others.
const IN_FLIGHT: usize = 8;
/// A write takes so long at most, and never longer than we lead.
const ANSWER: Duration = Duration::from_secs(10);
/// Updates that may wait.
const UPDATES: usize = 64;

/// What a write has come to.
type Answer = (Write, Result<String, Trouble>);

/// See the module.
pub(super) struct Leader {
    pub(super) access: Rc<Access>,
    pub(super) tenure: Tenure,
    pub(super) input: watch::Receiver<Input>,
    pub(super) notices: Notices,
    pub(super) counters: Arc<StatusCounters>,
    pub(super) pace: Pace,
}

// === impl Leader ===

impl Leader {
    /// Goes on until it is dropped, or there is nothing more to say.
    pub(super) async fn run(mut self) {
        let (updates, mut updated) = mpsc::channel(UPDATES);
        let mut watches = JoinSet::new();
        let streaming = Rc::new(std::cell::Cell::new(true));
        for kind in Kind::ROUTES.into_iter().chain(Kind::POLICIES) {
            let (access, streaming) = (Rc::clone(&self.access), Rc::clone(&streaming));
            let (updates, reader) = (updates.clone(), RouteReader::default());
            let watch = Watch::new(Resource::of(kind), access, streaming, updates, reader);
            watches.spawn_local(watch.run());
        }
        drop(updates);
        let mut troubles = Troubles::new(Scope::Cluster);
        let mut board = {
            // Not kept any longer than it is in force.
            let first = self.input.borrow_and_update().clone();
            troubles.now(&first).into_iter().for_each(|notice| self.notices.tell(notice));
            Board::new(first.snapshot, self.pace, Instant::now())
        };
        let mut writes = JoinSet::new();
        let mut looked = Instant::now();
        loop {
            let now = Instant::now();
            while writes.len() < IN_FLIGHT
                && let Some(write) = board.next(now, &seconds())
            {
                writes.spawn_local(self.write(write));
            }
            let wake = board.wake(now).filter(|_| writes.len() < IN_FLIGHT);
            let rested = now >= looked + LOOK;
            tokio::select! {
                Some(update) = updated.recv() => {
                    let now = Instant::now();
                    for told in update.said {
                        board.take(update.kind, told, now);
                    }
                }
                changed = self.input.changed(), if rested => {
                    if changed.is_err() {
                        return;
                    }
                    looked = Instant::now();
                    let input = self.input.borrow_and_update().clone();
                    board.judge(Arc::clone(&input.snapshot), looked);
                    troubles.now(&input).into_iter().for_each(|notice| self.notices.tell(notice));
                }
                () = sleep_until((looked + LOOK).into()), if !rested => {}
                () = until(wake) => {}
                Some(done) = writes.join_next() => match done {
                    Ok(answer) => self.done(&mut board, answer),
                    Err(error) => tracing::error!(%error, "a write of a route's status"),
                },
                Some(ended) = watches.join_next() => {
                    tracing::error!(?ended, "a watch of routes has ended");
                    return;
                }
            }
        }
    }

    fn write(&self, write: Write) -> impl Future<Output = Answer> + 'static {
        let (access, tenure) = (Rc::clone(&self.access), self.tenure.clone());
        async move {
            let Some(left) = tenure.left() else {
                return (write, Err(Trouble::Away("another leads".to_owned())));
            };
            let body = write.body.clone().into_bytes();
            let sent = access.send(Method::PATCH, &write.path, MERGE_PATCH, body);
            let answer = timeout(left.min(ANSWER), sent).await;
            let answer = answer.unwrap_or_else(|_| Err(Trouble::Away("no answer".to_owned())));
            let version = answer.and_then(|text| {
                let read = serde_json::from_slice::<Answered>(&text);
                let unread = |error| Trouble::Away(format!("an answer that is no route: {error}"));
                read.map(|answered| answered.metadata.resource_version).map_err(unread)
            });
            (write, version)
        }
    }

    fn done(&self, board: &mut Board, (write, answer): Answer) {
        let (kind, name) = &write.key;
        let now = Instant::now();
        let mut forbidden = None;
        let result = answer.map_err(|trouble| match trouble {
            Trouble::Conflict => Failure::Conflict,
            Trouble::Forbidden(message) => {
                forbidden = Some(message);
                Failure::Forbidden
            }
            Trouble::Busy(message, time) => {
                tracing::debug!(%kind, %name, message, "a route's status is not written");
                Failure::Busy(time)
            }
            trouble => {
                if let Trouble::Unauthorized(_) = trouble {
                    self.access.renew();
                }
                // Gone meanwhile is no failure to tell of.
                if !matches!(trouble, Trouble::Absent) {
                    tracing::debug!(%kind, %name, ?trouble, "a route's status is not written");
                }
                Failure::Other
            }
        });
        self.counters.write(match result {
            Ok(_) => StatusWrite::Written,
            Err(Failure::Conflict) => StatusWrite::Conflict,
            Err(Failure::Forbidden) => StatusWrite::Forbidden,
            Err(Failure::Busy(_) | Failure::Other) => StatusWrite::Failed,
        });
        let written = result.is_ok();
        let news = board.done(&write, result, now, fastrand::f64());
        match (news, forbidden) {
            (Some(Refusal::Route), Some(message)) => {
                tracing::warn!("{message}: the status of {kind} {name} is not written");
            }
            (Some(Refusal::Kind), Some(message)) => {
                let resource = Resource::of(*kind).subresource("status");
                tracing::error!(
                    "{message}: the status of {kind}s is not written; the proxy's ClusterRole needs \
                     the verb patch on {resource}"
                );
            }
            _ => {}
        }
        if !written {
            return;
        }
        if write.left_out > 0 {
            tracing::warn!(%kind, %name, parents = write.left_out,
                "a route's status has no place for all its parents");
        }
        let about = Subject { kind: *kind, name: name.clone(), uid: Some(Arc::clone(&write.uid)) };
        write.news.into_iter().for_each(|verdict| self.notices.tell(news_of(&about, verdict)));
    }
}

#[derive(serde::Deserialize)]
struct Answered {
    metadata: AnsweredMetadata,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnsweredMetadata {
    resource_version: String,
}

fn news_of(about: &Subject, verdict: Verdict) -> Notice {
    let tone = if verdict.holds { Tone::Normal } else { Tone::Warning };
    Notice { about: about.clone(), tone, reason: verdict.reason, message: verdict.message }
}
