//! What a pick costs by each algorithm, among 10 endpoints and among up to 10 000, some of them left out.
//!
//! The promise is that the last is less than twice the first, but for what memory costs that no cache holds;
//! it is checked when all has been measured.
#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench may stop at the first surprise")]

#[path = "fleets/mod.rs"]
mod fleets;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use fleets::{ALGORITHMS, Fleet};

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

/// Side by side, so that what else the machine does is the same for both. Picks of so many endpoints go all
/// over the memory; so it is the endpoints in use that are picked from, not ones that nothing has touched.
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
        if ratio >= 2.0 {
            slow.push(algorithm);
        }
    }
    assert!(slow.is_empty(), "more than twice as slow among 1000: {slow:?}");
}

criterion_group!(benches, ratios, picks);
criterion_main!(benches);
