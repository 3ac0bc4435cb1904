//! Round robin: each endpoint in turn, as often as its weight says.
//!
//! For connections whose length and cost are unknown: what is under way says little about load, and
//! turns spread them evenly from the first one on. All workers take turns from one counter, so that
//! together they are as even as one. How weights are kept in turns stands in `alias`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::Endpoint;
use super::pick::Draw;
use super::roster::Pool;

/// The next in turn, if it fits.
///
/// Passing over one takes a turn too, so that the neighbour of an ejected endpoint does not inherit its
/// share.
#[inline]
pub(super) fn draw<'a>(
    draw: &Draw<'a, '_>,
    pool: &Pool,
    turn: &AtomicUsize,
) -> Option<&'a Arc<Endpoint>> {
    let turn = turn.fetch_add(1, Relaxed);
    let place = match &pool.weights {
        None => turn.checked_rem(pool.places.len())?,
        Some(weights) => weights.turn(turn),
    };
    draw.at(pool, place).filter(|endpoint| draw.fits(endpoint))
}
