//! Who may be picked now: what a pick would otherwise ask each endpoint, asked once for many picks.
//!
//! Not which of them it is: that is `pick`'s and the algorithms'. An endpoint that is left out after a
//! roster was made is noticed by who draws it; one that comes back is noticed by the next roster.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::{ArcSwapOption, Guard};

use super::alias::Alias;
use super::{Backend, Endpoint, Family, Millis};

/// Near endpoints are taken to carry so much more than their share. Envoy's overprovisioning factor: as
/// long as 72 per cent of them are usable, they do without the far ones.
const OVERPROVISIONED: f32 = 1.4;
/// A roster is made anew after so long even if nobody says that it must be, milliseconds: an endpoint's
/// health may have been told to another backend that has it.
const MAX_AGE_MS: u64 = 1_000;
/// While an endpoint is given its share by and by, a roster is made so often, milliseconds.
const RAMP_STEP_MS: u64 = 50;
/// With so many endpoints a roster may be made each millisecond, with twice as many every other: making
/// them never takes more than a small part of the time.
const ENDPOINTS_A_MS: u64 = 200;

/// A backend's roster, and when it must be made anew.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// None before the first pick.
    roster: ArcSwapOption<Roster>,
    /// From when on it is stale, milliseconds. The largest number while somebody makes a new one.
    stale: AtomicU64,
}

/// Who may be picked, as of some moment.
#[derive(Debug)]
pub(super) struct Roster {
    made: Millis,
    until: Millis,
    /// All; and if there are both, those of IPv4 and those of IPv6.
    groups: Box<[Group]>,
}

/// The endpoints that a caller may get by the family that it dialled.
#[derive(Debug)]
pub(super) struct Group {
    /// Its place among [`Backend::groups`].
    pub(super) index: usize,
    /// Their places among the backend's endpoints: from, and up to.
    pub(super) places: (usize, usize),
    /// So few are usable that all are used.
    pub(super) panic: bool,
    /// Who comes first; anybody, if nobody is nearer than others.
    pub(super) near: Pool,
    /// Who comes if those do not suffice.
    pub(super) far: Pool,
    /// How far the one that is farthest has come in its slow start: 1 if any is through.
    pub(super) fullest: f32,
    /// What the near ones can carry of what is theirs, of 2^32.
    to_near: u64,
}

/// What a group is made of.
pub(super) struct Sides {
    pub(super) near: Wanted,
    pub(super) far: Wanted,
    near_is: Side,
    panic: bool,
    fullest: f32,
    /// As [`Group`] has it.
    pub(super) to_near: u64,
}

/// Endpoints to draw from.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) side: Side,
    /// Their places among the backend's endpoints.
    pub(super) places: Box<[u32]>,
    /// If they are not all to get the same.
    pub(super) weights: Option<Alias>,
}

/// Of which endpoints of its group a pool has the usable ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    All,
    Near,
    Far,
}

// === impl Kept ===

impl Kept {
    /// A roster that is good now, unless somebody else is just making one.
    #[inline]
    pub(super) fn get(&self, backend: &Backend, now: Millis) -> Guard<Option<Arc<Roster>>> {
        if now.0 < self.stale.load(Relaxed) {
            let roster = self.roster.load();
            if roster.is_some() {
                return roster;
            }
        }
        self.make(backend, now)
    }

    /// It is stale: some endpoint's health is another.
    pub(super) fn refresh(&self) {
        if let Some(roster) = &*self.roster.load() {
            let gap = roster.groups.first().map_or(0, |all| all.places.1 as u64 / ENDPOINTS_A_MS);
            self.stale.fetch_min(roster.made.0.saturating_add(gap), Relaxed);
        }
    }

    #[cold]
    fn make(&self, backend: &Backend, now: Millis) -> Guard<Option<Arc<Roster>>> {
        let stale = self.stale.load(Relaxed);
        let last = self.roster.load();
        let first = last.is_none();
        if !first
            && (now.0 < stale
                || self.stale.compare_exchange(stale, u64::MAX, Relaxed, Relaxed).is_err())
        {
            return last;
        }
        drop(last);
        // From here on a refresh makes this one stale, not the one before.
        if first {
            self.stale.store(u64::MAX, Relaxed);
        }
        let roster = Arc::new(Roster::new(backend, now));
        let until = roster.until.0;
        self.roster.store(Some(Arc::clone(&roster)));
        self.stale.fetch_min(until, Relaxed);
        Guard::from_inner(Some(roster))
    }
}

// === impl Roster ===

impl Roster {
    fn new(backend: &Backend, now: Millis) -> Self {
        backend.settle(now);
        let all = backend.endpoints().len();
        let slow_start = backend.settings().balancing.slow_start.as_ref();
        let changes = |endpoint: &Arc<Endpoint>| {
            let ramps = slow_start.is_some_and(|slow_start| endpoint.ramp(now, slow_start) < 1.0);
            let ramps = ramps.then_some(Millis(now.0.saturating_add(RAMP_STEP_MS)));
            ramps.into_iter().chain(endpoint.changes_at(now)).min()
        };
        let changes = backend.endpoints().iter().filter_map(changes).min();
        let latest = Millis(now.0.saturating_add(MAX_AGE_MS + all as u64 / ENDPOINTS_A_MS));
        let soonest = Millis(now.0.saturating_add(1 + all as u64 / ENDPOINTS_A_MS));
        Self {
            made: now,
            until: changes.unwrap_or(latest).clamp(soonest, latest),
            groups: (backend.groups().iter().enumerate())
                .map(|(index, places)| Group::new(backend, index, *places, now))
                .collect(),
        }
    }

    /// Those of a family; all, if there are none of it. A caller whose family is all out does not get the
    /// other's: pods have an address of each, and what looks well in the other is mostly what nobody has
    /// tried.
    #[inline]
    pub(super) fn group(&self, family: Option<Family>) -> Option<&Group> {
        match (&*self.groups, family) {
            ([all], _) | ([all, ..], None) => Some(all),
            ([_, v4, _], Some(Family::V4)) => Some(v4),
            ([_, _, v6], Some(Family::V6)) => Some(v6),
            _ => None,
        }
    }
}

// === impl Group ===

impl Group {
    fn new(backend: &Backend, index: usize, places: (usize, usize), now: Millis) -> Self {
        let Sides { near, far, near_is, panic, fullest, to_near } =
            Sides::new(backend, places, now);
        let (near, far) = (near.pool(near_is), far.pool(Side::Far));
        Self { index, places, panic, near, far, fullest, to_near }
    }

    /// What [`Self::pool`] needs.
    #[inline]
    pub(super) fn chance(&self, random: &mut fastrand::Rng) -> u64 {
        if self.to_near >= 1 << 32 { 0 } else { random.u32(..).into() }
    }

    /// Those whose turn it is by how many of the near ones are usable; `chance` is of 2^32.
    #[inline]
    pub(super) fn pool(&self, chance: u64) -> &Pool {
        if chance & 0xffff_ffff < self.to_near { &self.near } else { &self.far }
    }
}

// === impl Sides ===

impl Sides {
    /// The endpoints from and up to a place of the backend's.
    pub(super) fn new(backend: &Backend, places: (usize, usize), now: Millis) -> Self {
        let settings = &backend.settings().balancing;
        let zones = settings.zone_aware && backend.has_near();
        let (mut near, mut far) = (Wanted::default(), Wanted::default());
        let mut usable = 0;
        let mut fullest = 0.0_f32;
        for place in places.0..places.1 {
            let Some(endpoint) = backend.endpoints().get(place) else { continue };
            let side = if !zones || backend.is_near(place) { &mut near } else { &mut far };
            let weight = f32::from(backend.weight(place).get());
            side.all += weight;
            if endpoint.usable(now) {
                usable += 1;
                let ramp = ramp(backend, endpoint, now);
                fullest = fullest.max(ramp);
                side.add(place, weight, weight * ramp);
            }
        }
        let carries = if near.all > 0.0 { OVERPROVISIONED * near.usable / near.all } else { 0.0 };
        let share = usable as f32 / (places.1 - places.0).max(1) as f32 * 100.0;
        let threshold = f32::from(settings.panic_threshold);
        // Near ones that are enough by themselves are no reason to panic, however the far ones are.
        let panic = share < threshold && (!zones || carries < 1.0);
        let mut near_is = if zones && !panic { Side::Near } else { Side::All };
        if panic {
            (near, far) = (Wanted::default(), Wanted::default());
            for place in places.0..places.1 {
                let weight = f32::from(backend.weight(place).get());
                near.add(place, weight, weight);
            }
        } else if near.places.is_empty() {
            (near, far) = (far, Wanted::default());
            near_is = Side::Far;
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most 2^32")]
        let to_near = match far.places.is_empty() {
            true => 1 << 32,
            false => (carries.min(1.0) * 4_294_967_296.0) as u64,
        };
        Self { near, far, near_is, panic, fullest, to_near }
    }
}

fn ramp(backend: &Backend, endpoint: &Endpoint, now: Millis) -> f32 {
    let slow_start = backend.settings().balancing.slow_start.as_ref();
    slow_start.map_or(1.0, |slow_start| endpoint.ramp(now, slow_start))
}

// === impl Wanted ===

/// A pool in the making.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) places: Vec<u32>,
    pub(super) weights: Vec<f32>,
    /// Weight of those that are usable, and of all.
    usable: f32,
    all: f32,
}

impl Wanted {
    fn add(&mut self, place: usize, full: f32, now: f32) {
        self.places.extend(u32::try_from(place));
        self.weights.push(now);
        self.usable += full;
    }

    fn pool(self, side: Side) -> Pool {
        let weights = Alias::new(&self.weights);
        Pool { side, places: self.places.into(), weights }
    }
}
