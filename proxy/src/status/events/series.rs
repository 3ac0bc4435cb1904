//! Which notices become Events, and when: the same thing of the same object is one Event that counts. Pure.
//!
//! The idea is client-go's `EventCorrelator`: a burst an object, refilled slowly, and aggregation.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nodeway_core::model::{Kind, ObjectName};

use crate::source::kube::backoff::back_off;
use crate::status::notice::{Notice, Subject, Tone};
use crate::status::pace::Bucket;

/// New Events of one object: at once, and then one in so long (client-go's).
const OBJECT_BURST: u32 = 25;
const OBJECT_REFILL: Duration = Duration::from_secs(300);
/// All requests of a process: at once, and a second.
const BURST: u32 = 50;
const PER_SECOND: f64 = 5.0;
/// A count is told after so long, and each further time after twice as long.
const FIRST_COUNT: Duration = Duration::from_secs(10);
const MOST_COUNT: Duration = Duration::from_secs(600);
/// After failures.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const MOST_WAIT: Duration = Duration::from_secs(120);
const MOST_FAILURES: u32 = 20;
/// Of what has not been said for so long nothing is kept; the API keeps Events no longer either.
const MEMORY: Duration = Duration::from_secs(3600);
const SWEEP: Duration = Duration::from_secs(60);
/// Who was warned of is told of when it recovers within so long after the last warning: most objects that
/// go, go without a word.
const WARNED: Duration = Duration::from_secs(24 * 3600);
/// What is kept at most.
const MOST_SERIES: usize = 4096;

/// An object, by name.
type Object = (Kind, ObjectName);

/// What makes two notices the same.
type Key = (Object, Tone, &'static str, String);

/// See the module.
#[derive(Debug)]
pub(super) struct Series {
    all: HashMap<u64, Event>,
    by_key: HashMap<Key, u64>,
    next_id: u64,
    /// What is to be posted, and when.
    queue: BTreeSet<(Instant, u64)>,
    bucket: Bucket,
    objects: HashMap<Object, Bucket>,
    /// Objects that have been warned of, and when last.
    warned: HashMap<Object, Instant>,
    swept: Instant,
}

/// A series of the same notice.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) about: Subject,
    pub(super) tone: Tone,
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) count: u32,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    /// What it is called in the API, once it is there.
    pub(super) name: Option<String>,
    /// How often it has been said in the API.
    told: u32,
    due: Option<Instant>,
    /// When it may be posted again.
    rests: Instant,
    posts: u32,
    failures: u32,
    said: Instant,
}

/// What has come of posting an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Posted {
    /// It is there, by this name.
    As(String),
    /// It is there no longer: a new one is due.
    Forgotten,
    /// Not now.
    Later,
    /// The server has too much to do, and wants to be left alone for so long.
    Busy(Duration),
    /// Never: the object is gone, or the API does not want it.
    Never,
}

// === impl Series ===

impl Series {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            all: HashMap::new(),
            by_key: HashMap::new(),
            next_id: 0,
            queue: BTreeSet::new(),
            bucket: Bucket::new(BURST, PER_SECOND, now),
            objects: HashMap::new(),
            warned: HashMap::new(),
            swept: now,
        }
    }

    /// Takes a notice; false if it is dropped for being too much.
    pub(super) fn take(&mut self, notice: Notice, now: Instant, time: Timestamp) -> bool {
        self.sweep(now);
        let Notice { about, mut tone, reason, message } = notice;
        let object = (about.kind, about.name.clone());
        match tone {
            Tone::Recovered if self.warned.remove(&object).is_none() => return true,
            Tone::Recovered => tone = Tone::Normal,
            Tone::Warning
                if self.warned.len() < MOST_SERIES || self.warned.contains_key(&object) =>
            {
                self.warned.insert(object.clone(), now);
            }
            Tone::Warning | Tone::Normal => {}
        }
        let key = (object.clone(), tone, reason, message);
        let known = self.by_key.get(&key).and_then(|id| Some((*id, self.all.get_mut(id)?)));
        if let Some((id, event)) = known
            && (about.uid.is_none() || event.about.uid.is_none() || about.uid == event.about.uid)
        {
            event.count = event.count.saturating_add(1);
            (event.last, event.said) = (time, now);
            event.mark(&mut self.queue, id, now);
            return true;
        }
        let bucket = self.objects.entry(object);
        let refill = 1.0 / OBJECT_REFILL.as_secs_f64();
        let bucket = bucket.or_insert_with(|| Bucket::new(OBJECT_BURST, refill, now));
        if self.all.len() >= MOST_SERIES || !bucket.take(now) {
            return false;
        }
        let id = self.next_id;
        self.next_id += 1;
        let mut event = Event {
            about,
            tone,
            reason,
            message: key.3.clone(),
            count: 1,
            first: time,
            last: time,
            name: None,
            told: 0,
            due: None,
            rests: now,
            posts: 0,
            failures: 0,
            said: now,
        };
        event.mark(&mut self.queue, id, now);
        self.all.insert(id, event);
        if let Some(other) = self.by_key.insert(key, id) {
            // Another object of the same name.
            self.forget(other);
        }
        true
    }

    /// When to ask for an event again, if nothing is said before.
    pub(super) fn wake(&mut self, now: Instant) -> Option<Instant> {
        let (due, _) = self.queue.first()?;
        Some((*due).max(self.bucket.ready(now)))
    }

    /// The next event to post, if one is due.
    pub(super) fn next(&mut self, now: Instant) -> Option<(u64, Event)> {
        loop {
            let (due, id) = *self.queue.first()?;
            if due > now || !self.bucket.take(now) {
                return None;
            }
            self.queue.pop_first();
            if let Some(event) = self.all.get_mut(&id) {
                event.due = None;
                return Some((id, event.clone()));
            }
        }
    }

    /// `event`, as it was when it was asked for, has been posted.
    pub(super) fn posted(
        &mut self,
        (id, event): (u64, &Event),
        posted: Posted,
        now: Instant,
        chance: f64,
    ) {
        if let Posted::Busy(time) = posted {
            self.bucket.hold(time, now);
        }
        let Some(known) = self.all.get_mut(&id) else { return };
        match posted {
            Posted::As(name) => {
                known.name = Some(name);
                known.told = event.count;
                known.failures = 0;
                known.rests = now + back_off(FIRST_COUNT, MOST_COUNT, known.posts, 1.0);
                known.posts += 1;
            }
            Posted::Forgotten => {
                (known.name, known.told, known.posts) = (None, 0, 0);
                (known.count, known.first, known.rests) = (1, known.last, now);
            }
            Posted::Later | Posted::Busy(_) if known.failures < MOST_FAILURES => {
                known.rests = now + back_off(FIRST_WAIT, MOST_WAIT, known.failures, chance);
                known.failures += 1;
            }
            Posted::Later | Posted::Busy(_) | Posted::Never => return self.forget(id),
        }
        if known.told < known.count {
            known.mark(&mut self.queue, id, now);
        }
    }

    fn forget(&mut self, id: u64) {
        let Some(event) = self.all.remove(&id) else { return };
        if let Some(due) = event.due {
            self.queue.remove(&(due, id));
        }
        let object = (event.about.kind, event.about.name);
        let key = (object, event.tone, event.reason, event.message);
        if self.by_key.get(&key) == Some(&id) {
            self.by_key.remove(&key);
        }
    }

    fn sweep(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept) < SWEEP {
            return;
        }
        self.swept = now;
        let old = |event: &Event| now.saturating_duration_since(event.said) > MEMORY;
        let gone: Vec<u64> = self.all.iter().filter(|(_, e)| old(e)).map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|id| self.forget(id));
        self.objects.retain(|_, bucket| !bucket.is_full(now));
        self.warned.retain(|_, warned| now.saturating_duration_since(*warned) <= WARNED);
    }
}

// === impl Event ===

impl Event {
    fn mark(&mut self, queue: &mut BTreeSet<(Instant, u64)>, id: u64, at: Instant) {
        if self.due.is_none() {
            let at = at.max(self.rests);
            self.due = Some(at);
            queue.insert((at, id));
        }
    }
}

#[cfg(test)]
mod tests;
