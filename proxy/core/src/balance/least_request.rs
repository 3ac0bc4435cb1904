//! Least request: of two endpoints drawn at random, the one with fewer requests under way, by weight.
//!
//! As Envoy's `LEAST_REQUEST` with its default of two choices; what latency says is not asked.

use std::sync::Arc;

use super::Endpoint;
use super::pick::Draw;
use super::roster::Pool;
use super::weighted::draw_two;

/// The less loaded of two; on a tie the first, which is as random as the second.
#[inline]
pub(super) fn draw<'a>(
    draw: &Draw<'a, '_>,
    pool: &Pool,
    random: &mut fastrand::Rng,
) -> Option<&'a Arc<Endpoint>> {
    draw_two(draw, pool, random, |(_, a), (_, b)| b < a)
}
