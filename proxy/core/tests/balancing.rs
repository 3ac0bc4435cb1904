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

use nodeway_core::model::BalancingAlgorithm::LeastRequest;
use simulation::scenarios::{ALGORITHMS, Scenario};
use simulation::spread;

#[test]
fn the_same_seed_gives_the_same_world() {
    for algorithm in ALGORITHMS {
        let [one, other] = [(); 2].map(|()| Scenario::OneSlow.play(algorithm).latencies());
        assert!(one == other, "{algorithm:?}");
    }
}

#[test]
fn requests_that_take_their_time_are_spread_within_three_per_cent_of_even() {
    let spread = spread::least_request();
    assert!(spread.off <= 0.03, "{}", spread.off);
}

#[test]
fn load_of_many_nodes_stays_even() {
    let shares = Scenario::Quiet.play(LeastRequest).shares();
    assert!(shares.iter().all(|share| (0.09..0.11).contains(share)), "{shares:?}");
}
