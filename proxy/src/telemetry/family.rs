//! One worker's series of one kind, found by a cheap key, told apart by their labels.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::FixedState;

use super::Counter;

/// A series that nobody has touched for so long is dropped at the next scrape.
pub const IDLE_LIFE_SECONDS: u64 = 3600;

/// The series of one worker, as the scraper sees them.
pub type Registry<L, S> = Arc<Mutex<HashMap<L, Arc<Entry<S>>>>>;

/// The series of one worker, as the worker sees them.
#[derive(Debug)]
pub struct Family<K, L, S> {
    /// Keys change when the configuration does; labels do not. So the cache is dropped with the
    /// snapshot that its keys came from, and the registry keeps the numbers.
    cache: RefCell<Cache<K, L, S>>,
    registry: Registry<L, S>,
}

#[derive(Debug)]
struct Cache<K, L, S> {
    generation: u64,
    handles: HashMap<K, Rc<Handle<L, S>>, FixedState>,
}

/// A worker's hold on one series.
#[derive(Debug)]
pub struct Handle<L, S> {
    /// What tells the series from others.
    pub labels: L,
    /// Its numbers.
    pub entry: Arc<Entry<S>>,
}

/// A series and when it was last touched.
#[derive(Debug, Default)]
pub struct Entry<S> {
    /// The numbers.
    pub series: S,
    touched_seconds: Counter,
    expired: AtomicBool,
}

// === impl Family ===

impl<K, L, S> Family<K, L, S>
where
    K: Hash + Eq + Copy,
    L: Hash + Eq + Clone,
    S: Default,
{
    /// A family that registers what it makes in `registry`.
    pub fn new(registry: Registry<L, S>) -> Self {
        let handles = HashMap::with_hasher(FixedState::default());
        Self { cache: RefCell::new(Cache { generation: 0, handles }), registry }
    }

    /// The series of `key`; `labels` are asked for on first use. `generation`: of the snapshot that
    /// the key's ids come from.
    pub fn get(
        &self,
        generation: u64,
        key: K,
        now_seconds: u64,
        labels: impl FnOnce() -> L,
    ) -> Rc<Handle<L, S>> {
        let mut cache = self.cache.borrow_mut();
        if cache.generation != generation {
            cache.generation = generation;
            cache.handles.clear();
        }
        if let Some(handle) = cache.handles.get(&key)
            && !handle.entry.expired.load(Ordering::Relaxed)
        {
            handle.entry.touched_seconds.set(now_seconds);
            return Rc::clone(handle);
        }
        let handle = self.uncached(labels(), now_seconds);
        cache.handles.insert(key, Rc::clone(&handle));
        handle
    }

    /// The series of `labels`, for what happens too seldom to be cached.
    pub fn uncached(&self, labels: L, now_seconds: u64) -> Rc<Handle<L, S>> {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = Arc::clone(registry.entry(labels.clone()).or_default());
        entry.touched_seconds.set(now_seconds);
        Rc::new(Handle { labels, entry })
    }

    /// Counts into the series of `handle`, which may have expired since the handle was made.
    pub fn count(&self, handle: &Handle<L, S>, now_seconds: u64, count: impl FnOnce(&S)) {
        if handle.entry.expired.load(Ordering::Relaxed) {
            count(&self.uncached(handle.labels.clone(), now_seconds).entry.series);
        } else {
            handle.entry.touched_seconds.set(now_seconds);
            count(&handle.entry.series);
        }
    }
}

/// Drops the idle series of `registry` and calls `see` with the others.
pub(super) fn read<L, S>(registry: &Registry<L, S>, now_seconds: u64, mut see: impl FnMut(&L, &S))
where
    L: Hash + Eq,
{
    let mut registry = registry.lock().unwrap_or_else(PoisonError::into_inner);
    registry.retain(|labels, entry| {
        if now_seconds.saturating_sub(entry.touched_seconds.get()) > IDLE_LIFE_SECONDS {
            entry.expired.store(true, Ordering::Relaxed);
            return false;
        }
        see(labels, &entry.series);
        true
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(registry: &Registry<&'static str, Counter>, now: u64) -> u64 {
        let mut sum = 0;
        read(registry, now, |_, series| sum += series.get());
        sum
    }

    #[test]
    fn numbers_survive_a_new_snapshot_and_idle_series_expire() {
        let registry = Registry::default();
        let family: Family<u64, &str, Counter> = Family::new(Arc::clone(&registry));
        family.get(1, 7, 10, || "a").entry.series.add(1);
        family.get(2, 8, 20, || "a").entry.series.add(1);
        assert_eq!(sum(&registry, 20), 2);
        assert_eq!(sum(&registry, 21 + IDLE_LIFE_SECONDS), 0, "expired");
        let late = 30 + IDLE_LIFE_SECONDS;
        family.get(2, 8, late, || "a").entry.series.add(1);
        assert_eq!(sum(&registry, late), 1, "and made anew");
    }
}
