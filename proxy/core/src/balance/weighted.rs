//! By chance: each endpoint as often as its weight says.
//!
//! Knows nothing of load. The draws of the power of two choices stand here too.

use std::sync::Arc;

use super::Endpoint;
use super::alias::scaled;
use super::pick::Draw;
use super::roster::Pool;

/// One of the pool by chance, if it fits.
#[inline]
pub(super) fn draw<'a>(
    draw: &Draw<'a, '_>,
    pool: &Pool,
    random: &mut fastrand::Rng,
) -> Option<&'a Arc<Endpoint>> {
    draw.at(pool, one(pool, random.u64(..))).filter(|endpoint| draw.fits(endpoint))
}

/// Of two by chance that fit the one that `better` prefers: it is told both with their loads, the requests
/// under way by weight, and says whether the second is better. If one of them fits, that one.
///
/// The power of two choices (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE
/// TPDS 12(10), 2001) comes within a whisker of asking all of them, at constant cost, and does not herd
/// many proxies onto the one endpoint that looks best to all. Weights are in the draws and in the loads:
/// without load each gets its share by weight, under load the loads by weight become the same.
#[inline]
pub(super) fn draw_two<'a>(
    draw: &Draw<'a, '_>,
    pool: &Pool,
    random: &mut fastrand::Rng,
    better: impl Fn((&Endpoint, f32), (&Endpoint, f32)) -> bool,
) -> Option<&'a Arc<Endpoint>> {
    let (first, second) = two(pool, random);
    let a = draw.at(pool, first)?;
    let b = draw.at(pool, second)?;
    match (draw.fits(a), draw.fits(b)) {
        (true, true) => {
            let loads = [load(pool, first, a), load(pool, second, b)];
            Some(if better((a, loads[0]), (b, loads[1])) { b } else { a })
        }
        (true, false) => Some(a),
        (false, true) => Some(b),
        (false, false) => None,
    }
}

/// A place of the pool.
#[inline]
fn one(pool: &Pool, chance: u64) -> usize {
    match &pool.weights {
        None => scaled(chance, pool.places.len()),
        Some(weights) => weights.draw(chance),
    }
}

/// Two different places of the pool; the same twice if there is only one.
#[inline]
fn two(pool: &Pool, random: &mut fastrand::Rng) -> (usize, usize) {
    let len = pool.places.len();
    let chance = random.u64(..);
    let first = match &pool.weights {
        None => scaled(chance >> 32, len),
        Some(weights) => {
            let first = weights.draw(random.u64(..));
            let second = weights.draw(random.u64(..));
            if first != second {
                return (first, second);
            }
            first
        }
    };
    if len < 2 {
        return (first, first);
    }
    let second = first + 1 + scaled(chance, len - 1);
    (first, if second < len { second } else { second - len })
}

/// What is under way there, by weight.
#[inline]
pub(super) fn load(pool: &Pool, place: usize, endpoint: &Endpoint) -> f32 {
    let active = endpoint.active() as f32;
    match &pool.weights {
        None => active,
        Some(weights) => active * weights.load(place),
    }
}
