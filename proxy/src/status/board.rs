//! All routes and policies that are ours, what their status should say, and whose turn it is to be written. Pure.
//!
//! Nothing here reacts to its own writes: a route that has been written rests until the watch has shown
//! what became of it, and who writes over us again and again is answered less and less often.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nodeway_core::model::Kind;
use nodeway_core::snapshot::{RouteKey, Snapshot};
use serde_json::Value;

use super::judged::{Judged, Shape};
use super::pace::Bucket;
use super::parents::{self, Verdict, Wanted};
use super::route::{Found, Told};
use crate::source::kube::backoff::back_off;
use crate::source::kube::resource::Resource;

/// Between two writes of one route.
const REST: Duration = Duration::from_millis(500);
/// The watch shows a write within so long, or is not waited for.
const SHOWN: Duration = Duration::from_secs(5);
/// After failures of one route's writes.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const MOST_WAIT: Duration = Duration::from_secs(120);
/// After conflicts: the route has just changed, and the watch is about to show it.
const CONFLICT_WAIT: Duration = Duration::from_millis(200);
/// After somebody has undone what we have written.
const FIRST_UNDONE: Duration = Duration::from_secs(2);
const MOST_UNDONE: Duration = Duration::from_secs(300);
/// What has stood for so long was not written in a fight.
const PEACE: Duration = Duration::from_secs(600);
/// What is forbidden is tried again, once, after so long.
const FORBIDDEN_WAIT: Duration = Duration::from_secs(300);
/// So much later for each failure that a route has had: whoever failed most is the last to be tried.
const LATER: Duration = Duration::from_millis(10);
/// Routes looked at in one go.
const AT_ONCE: usize = 256;

/// How fast is written.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Writes at once after a quiet time.
    pub burst: u32,
    /// Writes a second.
    pub per_second: f64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Board {
    snapshot: Arc<Snapshot>,
    routes: HashMap<RouteKey, Known>,
    /// Whom to look at, and when.
    queue: BTreeSet<(Instant, RouteKey)>,
    bucket: Bucket,
    /// Kinds of which a write was forbidden, and none allowed since.
    forbidden: HashMap<Kind, Forbidden>,
}

/// What is forbidden of a kind. The API says the same of a role that lacks the verb and of a policy that
/// does not like this one route: one route that is refused says nothing of the others.
#[derive(Debug)]
enum Forbidden {
    /// This route's status; what comes of another one tells more.
    Of(RouteKey),
    /// The whole kind's, as far as is believed until then.
    All(Instant),
}

/// A route.
#[derive(Debug)]
struct Known {
    found: Found,
    /// Whether the listing that is under way, or the last one, has shown it.
    seen: bool,
    status: Option<Judged>,
    /// Its place in the queue.
    due: Option<Instant>,
    writing: bool,
    /// Not written before.
    rests: Instant,
    /// In a row.
    failures: u32,
    /// Whether its last answer that was one was a 403.
    refused: bool,
    /// The version that our last write has made, and how long the watch has to show it.
    awaited: Option<(Box<str>, Instant)>,
    written: Option<Written>,
}

/// What we have written last.
#[derive(Debug, Clone, Copy)]
struct Written {
    /// A hash of what was wanted.
    wanted: u64,
    at: Instant,
    /// How often it has been undone.
    undone: u32,
}

/// A write to be done.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) key: RouteKey,
    pub(super) uid: Arc<str>,
    /// Where it goes.
    pub(super) path: String,
    /// A merge patch.
    pub(super) body: String,
    pub(super) news: Vec<Verdict>,
    pub(super) left_out: usize,
    wanted: u64,
}

/// Why a write has failed, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Conflict,
    Forbidden,
    /// The server has too much to do, and wants to be left alone for so long.
    Busy(Duration),
    Other,
}

/// What is news of writes that are forbidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// This route's status may not be written.
    Route,
    /// No status of this kind may be.
    Kind,
}

/// What to do with a route that is looked at.
enum Look {
    Nothing,
    Later(Instant),
    Write(Box<Write>),
}

// === impl Pace ===

impl Default for Pace {
    fn default() -> Self {
        Self { burst: 20, per_second: 40.0 }
    }
}

// === impl Board ===

impl Board {
    pub(super) fn new(snapshot: Arc<Snapshot>, pace: Pace, now: Instant) -> Self {
        Self {
            snapshot,
            routes: HashMap::new(),
            queue: BTreeSet::new(),
            bucket: Bucket::new(pace.burst, pace.per_second, now),
            forbidden: HashMap::new(),
        }
    }

    /// The verdicts are these now.
    pub(super) fn judge(&mut self, snapshot: Arc<Snapshot>, now: Instant) {
        self.snapshot = snapshot;
        let Self { snapshot, routes, queue, .. } = self;
        for (key, known) in routes {
            let status = Judged::of(snapshot, key);
            let same = match (&status, &known.status) {
                (Some(now), Some(before)) => now.is(before),
                (now, before) => now.is_none() && before.is_none(),
            };
            if !same {
                known.status = status;
                known.mark(queue, key, now);
            }
        }
    }

    /// A watch has told this of routes of `kind`.
    pub(super) fn take(&mut self, kind: Kind, told: Told, now: Instant) {
        match told {
            Told::Listing => {
                let of_kind = self.routes.iter_mut().filter(|((of, _), _)| *of == kind);
                of_kind.for_each(|(_, known)| known.seen = false);
            }
            Told::Listed => {
                let gone = self.routes.iter().filter(|((of, _), known)| *of == kind && !known.seen);
                let gone: Vec<RouteKey> = gone.map(|(key, _)| key.clone()).collect();
                gone.iter().for_each(|key| self.forget(key));
            }
            Told::Gone(name) => self.forget(&(kind, name)),
            Told::There(found) => self.found((kind, found.name.clone()), *found, now),
        }
    }

    fn found(&mut self, key: RouteKey, found: Found, now: Instant) {
        if self.routes.get(&key).is_some_and(|known| known.found.uid != found.uid) {
            // Another of the same name.
            self.forget(&key);
        }
        let known = self.routes.entry(key.clone()).or_insert_with(|| Known {
            found: Found { resource_version: Box::default(), ..found.clone() },
            seen: true,
            status: Judged::of(&self.snapshot, &key),
            due: None,
            writing: false,
            rests: now,
            failures: 0,
            refused: false,
            awaited: None,
            written: None,
        });
        known.seen = true;
        if known.found.resource_version == found.resource_version {
            return;
        }
        known.found = found;
        let shown = |(version, _): &mut (Box<str>, _)| *version == known.found.resource_version;
        known.awaited.take_if(shown);
        known.mark(&mut self.queue, &key, now);
    }

    fn forget(&mut self, key: &RouteKey) {
        if let Some(due) = self.routes.remove(key).and_then(|known| known.due) {
            self.queue.remove(&(due, key.clone()));
        }
    }

    /// When to ask for a write again, if nothing is told before.
    pub(super) fn wake(&mut self, now: Instant) -> Option<Instant> {
        let (due, _) = self.queue.first()?;
        Some((*due).max(self.bucket.ready(now)))
    }

    /// The next write, if one is due. `time` is what conditions that change are given.
    pub(super) fn next(&mut self, now: Instant, time: &str) -> Option<Write> {
        for _ in 0..AT_ONCE {
            if self.queue.first().is_none_or(|(due, _)| *due > now) || self.bucket.ready(now) > now
            {
                return None;
            }
            let (_, key) = self.queue.pop_first()?;
            let Some(known) = self.routes.get_mut(&key) else { continue };
            known.due = None;
            match known.look(&key, now, time) {
                Look::Nothing => {}
                Look::Later(at) => known.mark(&mut self.queue, &key, at),
                Look::Write(write) => {
                    if let Some(Forbidden::All(until)) = self.forbidden.get_mut(&key.0) {
                        let its_turn = *until + LATER * known.failures.min(1000);
                        if now < its_turn {
                            known.mark(&mut self.queue, &key, its_turn);
                            continue;
                        }
                        // One is tried; the others wait for what comes of it.
                        *until = now + FORBIDDEN_WAIT;
                    }
                    known.writing = true;
                    self.bucket.take(now);
                    return Some(*write);
                }
            }
        }
        None
    }

    /// What has come of a write: the version that it has made. What is news of what may not be written.
    pub(super) fn done(
        &mut self,
        write: &Write,
        result: Result<String, Failure>,
        now: Instant,
        chance: f64,
    ) -> Option<Refusal> {
        let mut news = None;
        let mut again = now;
        match result {
            Ok(_) => self.allowed(write.key.0, now),
            Err(Failure::Forbidden) => {
                again = now + FORBIDDEN_WAIT;
                news = self.refused(&write.key, again);
            }
            // It means all of us.
            Err(Failure::Busy(time)) => self.bucket.hold(time, now),
            Err(Failure::Conflict | Failure::Other) => {}
        }
        let Some(known) = self.routes.get_mut(&write.key) else { return news };
        if *known.found.uid != *write.uid {
            return news;
        }
        known.writing = false;
        match result {
            Ok(version) => {
                (known.failures, known.refused) = (0, false);
                known.rests = now + REST;
                let same = known.written.filter(|last| last.wanted == write.wanted);
                let undone = same.map_or(0, |last| last.undone_by(now) + 1);
                known.written = Some(Written { wanted: write.wanted, at: now, undone });
                if *known.found.resource_version != *version {
                    known.awaited = Some((version.into(), now + SHOWN));
                }
            }
            Err(failure) => {
                let (first, most) = match failure {
                    Failure::Conflict => (CONFLICT_WAIT, MOST_WAIT),
                    Failure::Forbidden | Failure::Busy(_) | Failure::Other => {
                        (FIRST_WAIT, MOST_WAIT)
                    }
                };
                known.rests = now + back_off(first, most, known.failures, chance);
                known.failures += 1;
            }
        }
        known.mark(&mut self.queue, &write.key, again);
        news
    }

    /// The status of a route of `kind` may be written.
    fn allowed(&mut self, kind: Kind, now: Instant) {
        if let Some(Forbidden::All(_)) = self.forbidden.remove(&kind) {
            for (key, known) in self.routes.iter_mut().filter(|((of, _), _)| *of == kind) {
                known.mark(&mut self.queue, key, now);
            }
        }
    }

    /// The status of this route may not be written; what of it is news.
    fn refused(&mut self, key: &RouteKey, until: Instant) -> Option<Refusal> {
        if let Some(Forbidden::All(believed)) = self.forbidden.get_mut(&key.0) {
            *believed = until;
        }
        let known = self.routes.get_mut(key)?;
        if std::mem::replace(&mut known.refused, true) {
            // It was before, whether others were or not.
            return None;
        }
        let alone = self.routes.keys().filter(|(kind, _)| *kind == key.0).take(2).count() == 1;
        match self.forbidden.get(&key.0) {
            Some(Forbidden::All(_)) => None,
            None if !alone => {
                self.forbidden.insert(key.0, Forbidden::Of(key.clone()));
                Some(Refusal::Route)
            }
            Some(Forbidden::Of(other)) if other == key => None,
            Some(Forbidden::Of(_)) | None => {
                self.forbidden.insert(key.0, Forbidden::All(until));
                Some(Refusal::Kind)
            }
        }
    }
}

// === impl Known ===

impl Known {
    /// Has it looked at at `at`, or as soon as it no longer rests.
    fn mark(&mut self, queue: &mut BTreeSet<(Instant, RouteKey)>, key: &RouteKey, at: Instant) {
        let at = at.max(self.rests);
        // After a write it is looked at anyway.
        if self.writing || self.due.is_some_and(|due| due <= at) {
            return;
        }
        if let Some(due) = self.due.replace(at) {
            queue.remove(&(due, key.clone()));
        }
        queue.insert((at, key.clone()));
    }

    fn look(&mut self, key: &RouteKey, now: Instant, time: &str) -> Look {
        if let Some((_, until)) = &self.awaited {
            if now < *until {
                return Look::Later(*until);
            }
            self.awaited = None;
        }
        let Some(wanted) = self.wanted() else { return Look::Nothing };
        let Found { generation, parents, .. } = &self.found;
        let shape = Shape::of(key.0);
        let Some(due) = parents::due(shape, parents, &wanted, *generation, time) else {
            return Look::Nothing;
        };
        let verdicts: Vec<_> =
            wanted.iter().map(|wanted| (wanted.reference.get(), &wanted.conditions)).collect();
        let hash = foldhash::fast::FixedState::default().hash_one((generation, verdicts));
        if let Some(last) = self.written.filter(|last| last.wanted == hash) {
            let at = last.at + back_off(FIRST_UNDONE, MOST_UNDONE, last.undone_by(now), 1.0);
            if now < at {
                return Look::Later(at);
            }
        }
        Look::Write(Box::new(self.write(key, due, hash)))
    }

    /// What should be said of each parent; nothing if it is not known of this version of the spec.
    fn wanted(&self) -> Option<Vec<Wanted>> {
        if self.found.references.is_empty() {
            return Some(Vec::new());
        }
        let status = self.status.as_ref().filter(|s| s.generation() == self.found.generation)?;
        status.wanted(&self.found.name, &self.found.references)
    }

    fn write(&self, key: &RouteKey, due: parents::Due, wanted: u64) -> Write {
        let (kind, name) = key;
        let Found { api_version, uid, resource_version, .. } = &self.found;
        let resource = Resource::of(*kind);
        let version = resource.served(api_version);
        let path = resource.path_in(version, &name.namespace);
        let text = |text: &str| Value::from(text).to_string();
        Write {
            key: key.clone(),
            uid: (**uid).into(),
            path: format!("{path}/{}/status", name.name),
            body: format!(
                r#"{{"metadata":{{"uid":{},"resourceVersion":{}}},"status":{{"{}":{}}}}}"#,
                text(uid),
                text(resource_version),
                Shape::of(*kind).list(),
                due.parents
            ),
            news: due.news,
            left_out: due.left_out,
            wanted,
        }
    }
}

// === impl Written ===

impl Written {
    /// How often it has been undone lately.
    fn undone_by(&self, now: Instant) -> u32 {
        if now.saturating_duration_since(self.at) > PEACE { 0 } else { self.undone }
    }
}

#[cfg(test)]
mod tests;
