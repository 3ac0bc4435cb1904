//! The adaptive limit against a server that serves so many at once and has the rest wait.
#![expect(clippy::cast_possible_truncation, reason = "numbers are small")]

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use super::tests::{ANYONE, backend, some};
use crate::balance::{Active, Backend, Limit, Millis, Refused, Report};
use crate::model::{AdaptiveConcurrency, BackendSettings, Limits};

/// What a request takes without others, microseconds.
const SERVICE: u64 = 10_000;
/// What is not answered for so long is given up, microseconds.
const PATIENCE: u64 = 1_000_000;

/// A backend of one server, on a made clock.
struct World {
    backend: Backend,
    random: fastrand::Rng,
    /// Microseconds.
    now: u64,
    /// How many it serves at once.
    knee: usize,
    /// How many may wait for that; who comes then is answered 503 at once.
    room: usize,
    /// It answers nothing, and is given up after a second.
    hangs: bool,
    serving: BinaryHeap<Reverse<(u64, u64)>>,
    queue: VecDeque<u64>,
    /// Under way, by number: since when.
    under_way: std::collections::HashMap<u64, (u64, Active)>,
    next: u64,
    seen: Seen,
}

/// What came of a time.
#[derive(Default)]
struct Seen {
    latencies: Vec<u64>,
    /// Turned away by the server, or given up.
    dropped: usize,
    refused: usize,
    limits: Vec<u32>,
}

impl World {
    fn new(knee: usize, adaptive: AdaptiveConcurrency) -> Self {
        let limits = Limits { adaptive: Some(adaptive), ..Limits::default() };
        let settings = BackendSettings { limits, ..BackendSettings::default() };
        Self {
            backend: backend(1, settings),
            random: fastrand::Rng::with_seed(7),
            now: 0,
            knee,
            room: usize::MAX,
            hangs: false,
            serving: BinaryHeap::new(),
            queue: VecDeque::new(),
            under_way: Default::default(),
            next: 0,
            seen: Seen::default(),
        }
    }

    fn begin(&mut self, number: u64) {
        // From half to one and a half times as long.
        let service = SERVICE / 2 + self.random.u64(..SERVICE);
        let service = if self.hangs { PATIENCE } else { service };
        self.serving.push(Reverse((self.now + service, number)));
    }

    /// Requests come by chance, `rate` a second, for so many seconds.
    fn run(&mut self, rate: f64, seconds: u64) -> Seen {
        let end = self.now + seconds * 1_000_000;
        let mut arrival = self.now;
        loop {
            let done = self.serving.peek().map_or(u64::MAX, |Reverse((at, _))| *at);
            if arrival.min(done) >= end {
                self.now = end;
                return std::mem::take(&mut self.seen);
            }
            if done <= arrival {
                self.now = done;
                self.end();
            } else {
                self.now = arrival;
                self.arrive();
                let gap = -(1.0 - self.random.f64()).ln() / rate * 1e6;
                arrival += (gap as u64).max(1);
            }
        }
    }

    fn arrive(&mut self) {
        let now = Millis(self.now / 1_000);
        match self.backend.admit(now, &mut self.random, ANYONE, None, None) {
            Ok(active) => {
                let number = self.next;
                self.next += 1;
                self.under_way.insert(number, (self.now, active));
                if self.hangs || self.serving.len() < self.knee {
                    self.begin(number);
                } else if self.queue.len() >= self.room {
                    self.report(number, Report::Answered { status: 503, latency: None });
                } else {
                    self.queue.push_back(number);
                }
            }
            Err(Refused::Overflow(overflow)) => {
                assert_eq!(overflow.limit, Limit::Adaptive);
                self.seen.refused += 1;
            }
            Err(Refused::NoEndpoint) => panic!(),
        }
    }

    fn end(&mut self) {
        let Reverse((_, number)) = self.serving.pop().unwrap();
        let latency = self.now - self.under_way[&number].0;
        if latency == PATIENCE {
            self.report(number, Report::Lost);
        } else {
            let took = Some(Duration::from_micros(latency));
            self.report(number, Report::Answered { status: 200, latency: took });
            self.seen.latencies.push(latency);
        }
        if let Some(next) = self.queue.pop_front() {
            self.begin(next);
        }
    }

    fn report(&mut self, number: u64, report: Report) {
        let (since, active) = self.under_way.remove(&number).unwrap();
        let (began, now) = (Millis(since / 1_000), Millis(self.now / 1_000));
        self.backend.ended(1, active.endpoint(), (began, now), report);
        self.seen.dropped += usize::from(report.is_failure());
        self.seen.limits.push(self.backend.lasting().under_way().adaptive_limit().unwrap());
    }
}

impl Seen {
    fn limit(&self) -> u32 {
        let mut sorted = self.limits.clone();
        sorted.sort_unstable();
        sorted[sorted.len() / 2]
    }

    /// Its latency at this share of requests, as a multiple of what one takes without others.
    fn latency(&self, share: f64) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let place = ((sorted.len() - 1) as f64 * share) as usize;
        sorted[place] as f64 / SERVICE as f64
    }
}

fn adaptive(least: u32, most: u32) -> AdaptiveConcurrency {
    AdaptiveConcurrency { least: some(least).unwrap(), most: some(most).unwrap(), tolerance: 50 }
}

#[test]
fn under_overload_the_limit_comes_to_rest_near_the_knee_and_latency_is_bounded() {
    for knee in [5, 20, 80] {
        let mut world = World::new(knee, adaptive(1, 1_000));
        let capacity = knee as f64 * 1e6 / SERVICE as f64;
        // First as much as it can bear, so that it is known what it can do.
        world.run(capacity * 0.5, 5);
        world.run(capacity * 3.0, 20);
        let seen = world.run(capacity * 3.0, 60);
        let (limit, p99) = (seen.limit() as usize, seen.latency(0.99));
        assert!(limit >= knee && limit <= 3 * knee, "{limit} for a knee at {knee}");
        assert!(p99 <= 4.0, "p99 {p99} for a knee at {knee}, limit {limit}");
        // It serves what it can.
        let served = seen.latencies.len() as f64 / 60.0;
        assert!(served >= 0.95 * capacity, "{served} of {capacity} a second");
    }
}

#[test]
fn it_finds_the_knee_also_of_a_backend_that_is_overloaded_from_the_start() {
    let mut world = World::new(20, adaptive(5, 1_000));
    world.run(6_000.0, 60);
    let seen = world.run(6_000.0, 30);
    assert!((20..=60).contains(&seen.limit()), "{}", seen.limit());
    assert!(seen.latency(0.5) <= 3.0, "{}", seen.latency(0.5));
}

#[test]
fn after_a_slump_it_comes_back() {
    let mut world = World::new(40, adaptive(1, 1_000));
    world.run(2_000.0, 10);
    world.knee = 4;
    world.run(2_000.0, 30);
    let slump = world.run(2_000.0, 10).limit();
    world.knee = 40;
    world.run(2_000.0, 10);
    let seen = world.run(2_000.0, 10);
    assert!(slump <= 20, "{slump}");
    assert!(seen.limit() >= 25, "{}", seen.limit());
    let share = seen.refused as f64 / (seen.refused + seen.latencies.len()) as f64;
    assert!(share < 0.02, "{share} of the requests are refused without need");
}

#[test]
fn a_server_that_turns_away_what_is_too_much_is_sent_less_of_it() {
    for knee in [5, 20, 80] {
        let mut world = World::new(knee, adaptive(1, 1_000));
        world.room = 0;
        let capacity = knee as f64 * 1e6 / SERVICE as f64;
        world.run(capacity * 3.0, 20);
        let seen = world.run(capacity * 3.0, 60);
        let (limit, served) = (seen.limit() as usize, seen.latencies.len() as f64 / 60.0);
        assert!(limit >= knee / 2 && limit <= 2 * knee, "{limit} for a knee at {knee}");
        assert!(served >= 0.7 * capacity, "{served} of {capacity} a second");
        // Nearly all of the rest is refused here, and costs the server nothing.
        assert!(seen.dropped * 5 < seen.refused, "{} of {}", seen.dropped, seen.refused);
    }
}

#[test]
fn a_server_that_hangs_is_sent_as_little_as_may_be_until_it_answers_again() {
    let mut world = World::new(40, adaptive(3, 1_000));
    world.run(2_000.0, 10);
    world.hangs = true;
    world.run(2_000.0, 60);
    let hung = world.run(2_000.0, 10);
    assert_eq!((hung.limit(), hung.latencies.len()), (3, 0));
    world.hangs = false;
    world.run(2_000.0, 20);
    let seen = world.run(2_000.0, 10);
    assert!(seen.limit() >= 25, "{}", seen.limit());
}

#[test]
fn what_had_begun_before_the_limit_fell_does_not_make_it_fall_again() {
    let world = World::new(40, adaptive(1, 1_000));
    let (backend, limit) = (&world.backend, || {
        let under_way = world.backend.lasting().under_way();
        under_way.adaptive_limit().unwrap()
    });
    let endpoint = &backend.endpoints()[0];
    let lost = |began, now| backend.ended(1, endpoint, (Millis(began), Millis(now)), Report::Lost);
    // A hundred that have begun together are given up in the course of three seconds.
    for now in (2_000..5_000).step_by(30) {
        lost(1_000, now);
    }
    assert_eq!(limit(), 90);
    for now in (5_000..6_000).step_by(30) {
        lost(4_000, now);
    }
    assert_eq!(limit(), 80, "these are others");
}

#[test]
fn a_failure_now_and_then_is_no_overload() {
    let world = World::new(40, adaptive(1, 1_000));
    let backend = &world.backend;
    let endpoint = &backend.endpoints()[0];
    let took = Some(Duration::from_millis(10));
    for now in 1..20_000 {
        let lost = now % 25 == 0;
        let report =
            if lost { Report::Lost } else { Report::Answered { status: 200, latency: took } };
        backend.ended(1, endpoint, (Millis(now), Millis(now)), report);
    }
    let under_way = backend.lasting().under_way();
    assert!(under_way.adaptive_limit().unwrap() >= 50);
}

#[test]
fn what_is_refused_at_once_does_not_pass_for_quick() {
    let world = World::new(40, adaptive(1, 1_000));
    let backend = &world.backend;
    let endpoint = &backend.endpoints()[0];
    let answered = |status, ms| {
        let latency = Some(Duration::from_millis(ms));
        Report::Answered { status, latency }
    };
    for now in 1..20_000 {
        for status in [429, 500, 501] {
            if (5_000..7_000).contains(&now) {
                backend.report(endpoint, Millis(now), answered(status, 1));
            }
        }
        backend.report(endpoint, Millis(now), answered(200, 50));
    }
    let under_way = backend.lasting().under_way();
    assert!(under_way.adaptive_limit().unwrap() >= 50);
}

#[test]
fn it_stays_within_its_bounds() {
    let mut world = World::new(20, adaptive(10, 30));
    for (rate, seconds) in [(100.0, 20), (10_000.0, 40), (1_000.0, 20)] {
        let seen = world.run(rate, seconds);
        assert!(seen.limits.iter().all(|limit| (10..=30).contains(limit)), "{rate}");
    }
}

#[test]
fn a_load_that_it_can_bear_is_not_refused() {
    let mut world = World::new(50, adaptive(10, 1_000));
    world.run(2_500.0, 10);
    let seen = world.run(2_500.0, 100);
    assert_eq!(seen.refused, 0, "limit {}", seen.limit());
}

#[test]
fn bounds_that_have_changed_hold_at_once() {
    let mut random = fastrand::Rng::with_seed(1);
    let mut before = World::new(20, adaptive(10, 1_000)).backend;
    for (least, most, holds) in [(10, 1_000, 100), (3, 7, 7), (150, 1_000, 150)] {
        let limits = Limits { adaptive: Some(adaptive(least, most)), ..Limits::default() };
        let settings = BackendSettings { limits, ..BackendSettings::default() };
        before = before.with_settings(std::sync::Arc::new(settings));
        let admit = || before.admit(Millis(1), &mut random, ANYONE, None, None).ok();
        let held: Vec<_> = std::iter::from_fn(admit).take(2_000).collect();
        assert_eq!(held.len(), holds);
    }
}
