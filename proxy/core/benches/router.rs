//! What choosing costs among 10 rules and among 1 000, for rules that differ in all kinds of things.
//!
//! The promise is that the second is less than twice the first; it is checked when all has been measured.
#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench may stop at the first surprise")]

mod shapes;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use nodeway_core::model::HttpMatch;
use nodeway_core::route::normalised;

fn choosing(c: &mut Criterion) {
    for (few, many) in shapes::cases(10).iter().zip(&shapes::cases(1000)) {
        for (rules, case) in [(10, few), (1000, many)] {
            assert_eq!(case.route(), Some(case.wanted), "{}", case.name);
            c.bench_function(&format!("{}, {rules}", case.name), |b| {
                b.iter(|| black_box(case).route());
            });
        }
    }
}

/// Side by side, so that what else the machine does is the same for both.
fn ratios(_: &mut Criterion) {
    let time = |case: &shapes::Case| {
        let start = Instant::now();
        for _ in 0..20_000 {
            black_box(black_box(case).route());
        }
        start.elapsed()
    };
    let mut slow = Vec::new();
    println!("{:<40} {:>8} {:>8} {:>6}", "ns to choose a rule among", "10", "1000", "ratio");
    for (few, many) in shapes::cases(10).iter().zip(&shapes::cases(1000)) {
        let (mut fast, mut large) = (Duration::MAX, Duration::MAX);
        for _ in 0..15 {
            fast = fast.min(time(few));
            large = large.min(time(many));
        }
        let ratio = large.as_secs_f64() / fast.as_secs_f64();
        let each = |all: Duration| all.as_secs_f64() * 1e9 / 20_000.0;
        println!("{:<40} {:>8.1} {:>8.1} {ratio:>6.2}", few.name, each(fast), each(large));
        if ratio >= 2.0 {
            slow.push(few.name);
        }
    }
    assert!(slow.is_empty(), "more than twice as slow among 1000: {slow:?}");
}

fn building(c: &mut Criterion) {
    let prefixes = |i: usize| shapes::prefix(&format!("/api/v{i}/items"));
    let patterns = |i: usize| HttpMatch {
        path: shapes::pattern(&format!("/api/v{i}/[0-9]+/items")),
        ..shapes::prefix("/")
    };
    let wanted: Vec<HttpMatch> = (0..1000).map(prefixes).collect();
    c.bench_function("build a router of 1000 prefixes", |b| {
        b.iter_batched(
            || shapes::builder(wanted.iter().cloned()),
            |builder| builder.build(None),
            BatchSize::LargeInput,
        );
    });
    let wanted: Vec<HttpMatch> = (0..1000).map(patterns).collect();
    let before = shapes::builder(wanted.iter().cloned()).build(None);
    for (what, before) in [("", None), (", known ones", Some(&before))] {
        c.bench_function(&format!("build a router of 1000 patterns{what}"), |b| {
            b.iter_batched(
                || shapes::builder(wanted.iter().cloned()),
                |builder| builder.build(before),
                BatchSize::LargeInput,
            );
        });
    }
}

fn spelling(c: &mut Criterion) {
    for path in ["/api/v7/items/index.html", "/caf%C3%A9/items", "/api/%2e%2e/%61dmin"] {
        c.bench_function(&format!("normalise {path}"), |b| {
            b.iter(|| normalised(black_box(path)).len())
        });
    }
}

criterion_group!(benches, ratios, choosing, building, spelling);
criterion_main!(benches);
