//! What balancing promises to a fleet, by simulation.
//!
//! Not what a single pick promises: that stands beside the code.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "made times and counts are far from any bound"
)]

#[allow(dead_code, reason = "what the bench needs besides")]
mod simulation;

use std::time::Duration;

use nodeway_core::model::BalancingAlgorithm::{self, LeastRequest, Maglev, PeakEwma, RoundRobin};
use simulation::fleet::SECOND;
use simulation::scenarios::{ALGORITHMS, Scenario};
use simulation::spread;

/// How many times the other it is.
fn times(this: Duration, other: Duration) -> f64 {
    this.as_secs_f64() / other.as_secs_f64()
}

fn p99(scenario: Scenario, algorithm: BalancingAlgorithm) -> Duration {
    scenario.play(algorithm).p99()
}

#[test]
fn the_same_seed_gives_the_same_world() {
    for algorithm in ALGORITHMS {
        let [one, other] = [(); 2].map(|()| Scenario::Leaving.play(algorithm).latencies());
        assert!(one == other, "{algorithm:?}");
    }
}

#[test]
fn a_server_that_is_twenty_times_slower_is_not_felt_by_one_in_a_hundred() {
    for scenario in [Scenario::OneSlow, Scenario::OneOverloaded] {
        let (with, without) = (scenario.play(PeakEwma), scenario.play_without(PeakEwma));
        let ratio = times(with.p99(), without.p99());
        assert!(ratio <= 1.3, "{scenario:?}: {ratio:.2} times the p99 without it");
        let shares = with.shares();
        // Asked now and then all the same: it may be well again.
        assert!((0.000_1..0.005).contains(&shares[9]), "{scenario:?}: {shares:?}");
        let [even, busiest] = [1.0 / 9.0, shares.iter().copied().fold(0.0, f64::max)];
        assert!(busiest < 1.15 * even, "{scenario:?}: its share goes to all others: {shares:?}");
        let turns = times(p99(scenario, RoundRobin), without.p99());
        assert!(turns > 5.0, "{scenario:?}: in turn it is felt, {turns:.2} times");
    }
}

#[test]
fn a_burst_is_taken_by_all_alike() {
    let [ewma, least, turns] =
        [PeakEwma, LeastRequest, RoundRobin].map(|a| p99(Scenario::Burst, a));
    assert!(times(ewma, least) < 1.1 && times(ewma, turns) < 0.9, "{ewma:?} {least:?} {turns:?}");
}

#[test]
fn those_who_join_get_their_share_soon_and_no_more() {
    for algorithm in ALGORITHMS {
        let soon = Scenario::Joining.play(algorithm).between(5 * SECOND, 7 * SECOND);
        let shares = soon.shares();
        let fair = shares.iter().all(|share| (0.05..0.16).contains(share));
        assert!(fair, "{algorithm:?}: {shares:?}");
    }
}

#[test]
fn those_who_join_cold_are_felt_less_with_a_slow_start() {
    for algorithm in [LeastRequest, RoundRobin] {
        let [at_once, slowly] = [Scenario::JoiningCold, Scenario::SlowStart]
            .map(|scenario| scenario.play(algorithm).between(5 * SECOND, 10 * SECOND).p99());
        assert!(times(slowly, at_once) < 0.9, "{algorithm:?}: {slowly:?} {at_once:?}");
    }
    let quiet = p99(Scenario::Joining, PeakEwma);
    let cold = Scenario::SlowStart.play(PeakEwma).p99();
    assert!(times(cold, quiet) < 2.0, "with latency told as well: {cold:?} {quiet:?}");
}

#[test]
fn who_leaves_leaves_his_share_to_all() {
    for algorithm in [PeakEwma, LeastRequest, RoundRobin] {
        let shares = Scenario::Leaving.play(algorithm).shares();
        assert!(shares[9] < f64::EPSILON, "{algorithm:?}: {shares:?}");
        let others = &shares[..9];
        let fair = others.iter().all(|share| (0.09..0.13).contains(share));
        assert!(fair, "{algorithm:?}: {shares:?}");
    }
}

#[test]
fn failing_fast_attracts_nobody() {
    let errors = |algorithm| {
        let outcome = Scenario::OneFails.play(algorithm);
        outcome.errors() as f64 / outcome.requests() as f64
    };
    assert!(errors(PeakEwma) < 0.005, "{}", errors(PeakEwma));
    assert!((0.09..0.11).contains(&errors(RoundRobin)), "{}", errors(RoundRobin));
}

#[test]
fn two_hundred_nodes_do_not_all_run_to_the_one_that_is_new() {
    for algorithm in ALGORITHMS {
        let outcome = Scenario::ManyNodes.play(algorithm);
        let quarter = SECOND / 4;
        for i in 20..60 {
            let shares = outcome.between(i * quarter, (i + 1) * quarter).shares();
            assert!(shares[9] < 0.25, "{algorithm:?}, after {}/4 s: {shares:?}", i - 20);
        }
    }
}

#[test]
fn requests_that_take_their_time_are_spread_within_three_per_cent_of_even() {
    let spread = spread::least_request();
    assert!(spread.off <= 0.03, "{}", spread.off);
}

#[test]
fn keys_are_spread_within_one_per_cent_and_only_those_of_one_that_goes_move() {
    let spread = spread::hashing(Maglev);
    assert!(spread.off <= 0.01 && spread.moved.unwrap() <= 0.03, "{spread:?}");
}
