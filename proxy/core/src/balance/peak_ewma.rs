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

/// The cheaper of two; on a tie the first, which is as random as the second.
#[inline]
pub(super) fn draw<'a>(
    draw: &Draw<'a, '_>,
    pool: &Pool,
    random: &mut fastrand::Rng,
) -> Option<&'a Arc<Endpoint>> {
    let margin = if pool.weights.is_some() { MARGIN } else { 1.0 };
    draw_two(draw, pool, random, |(a, load_a), (b, load_b)| {
        b.cost(load_b, draw.now) * margin < a.cost(load_a, draw.now)
    })
}
