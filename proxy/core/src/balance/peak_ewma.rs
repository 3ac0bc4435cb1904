//! Peak-EWMA: of two endpoints drawn at random, the one where a request is expected to wait less.
//!
//! What is expected is the average latency times what is under way (Finagle's `PeakEwma`, and Linkerd's
//! default); how latency is averaged stands in `latency`.

use std::sync::Arc;

use super::Endpoint;
use super::pick::Draw;
use super::roster::Pool;
use super::weighted::draw_two;

/// Where endpoints have weights, the second must be cheaper by so much: those that differ by chance only
/// get what their weights say.
const MARGIN: f32 = 1.25;
/// The same if as much is under way with both.
const IDLE_MARGIN: f32 = 2.0;

/// The cheaper of two; on a tie the first, which is as random as the second.
///
/// If as much is under way with both, latency alone would decide, and with little traffic all of it would
/// go to an endpoint that is a hair quicker than another, for the sake of nothing. So then the dearer one
/// is taken too, the more seldom the dearer it is, and never at twice the cost.
#[inline]
pub(super) fn draw<'a>(
    draw: &Draw<'a, '_>,
    pool: &Pool,
    random: &mut fastrand::Rng,
) -> Option<&'a Arc<Endpoint>> {
    let weighted = pool.weights.is_some();
    let chance = if weighted { 1.0 } else { random.f32() };
    draw_two(draw, pool, random, |(a, load_a), (b, load_b)| {
        let (cost_a, cost_b) = (a.cost(load_a, draw.now), b.cost(load_b, draw.now));
        match (load_a == load_b, weighted) {
            (true, false) => (cost_b < cost_a) != (chance < dearer(cost_a, cost_b)),
            (false, false) => cost_b < cost_a,
            // The first is drawn by weight, the second is whoever else there is.
            (true, true) => cost_b * IDLE_MARGIN < cost_a,
            (false, true) => cost_b * MARGIN < cost_a,
        }
    })
}

/// How often the dearer of two is taken: half of the time if they cost the same.
#[inline]
fn dearer(a: f32, b: f32) -> f32 {
    let (less, more) = if a < b { (a, b) } else { (b, a) };
    if less > 0.0 { 1.0 - more / (2.0 * less) } else { 0.0 }
}
