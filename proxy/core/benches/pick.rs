//! What a pick costs by each algorithm, among 10 endpoints and among up to 10 000, some of them left out.
//!
//! The promise is that 1 000 cost less than twice what 10 do (less than three times on a ring of hashes); it
//! is checked before all is measured in detail.
#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench may stop at the first surprise")]

#[path = "fleets/mod.rs"]
mod fleets;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use fleets::{ALGORITHMS, Fleet};
use nodeway_core::model::BalancingAlgorithm;

fn picks(c: &mut Criterion) {
    for algorithm in ALGORITHMS {
        for endpoints in [10, 100, 1_000, 10_000] {
            let mut fleet = Fleet::new(algorithm, endpoints);
            c.bench_function(&format!("{algorithm:?}, {endpoints}"), |b| {
                b.iter(|| black_box(fleet.pick()));
            });
        }
    }
}

/// Side by side, so that what else the machine does is the same for all.
fn ratios(_: &mut Criterion) {
    let time = |fleet: &mut Fleet| {
        let start = Instant::now();
        for _ in 0..20_000 {
            black_box(fleet.pick());
        }
        start.elapsed()
    };
    let mut slow = Vec::new();
    println!("{:<20} {:>8} {:>8} {:>8} {:>6}", "ns to pick among", "10", "1000", "10000", "ratio");
    for algorithm in ALGORITHMS {
        let mut fleets = [10, 1_000, 10_000].map(|n| Fleet::new(algorithm, n));
        let mut best = [Duration::MAX; 3];
        for _ in 0..15 {
            for (fleet, best) in fleets.iter_mut().zip(&mut best) {
                *best = (*best).min(time(fleet));
            }
        }
        let [few, many, most] = best.map(|all| all.as_secs_f64() * 1e9 / 20_000.0);
        let ratio = many / few;
        println!(
            "{:<20} {few:>8.1} {many:>8.1} {most:>8.1} {ratio:>6.2}",
            format!("{algorithm:?}")
        );
        // A ring of so many points is as much as a core's cache holds, and each look is a miss of the next.
        let goal = if algorithm == BalancingAlgorithm::RingHash { 3.0 } else { 2.0 };
        if ratio >= goal {
            slow.push(algorithm);
        }
    }
    assert!(slow.is_empty(), "too slow among 1000: {slow:?}");
}

criterion_group!(benches, ratios, picks);
criterion_main!(benches);
