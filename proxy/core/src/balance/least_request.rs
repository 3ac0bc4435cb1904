//! Least request: of two endpoints drawn at random, the one with fewer requests under way.
//!
//! The power of two choices (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing",
//! IEEE TPDS 12(10), 2001) comes within a whisker of asking all of them, at constant cost, and does
//! not herd many proxies onto the one endpoint that looks idle to all.

use std::sync::Arc;

use super::Endpoint;

/// Picks among the endpoints that `usable` lets through; `None` if it lets none through.
///
/// Two draws in the common case. Only if one of them is not usable is the list walked, so that the
/// neighbours of an ejected endpoint do not inherit its share.
pub(super) fn pick<'a>(
    endpoints: &'a [Arc<Endpoint>],
    random: &mut fastrand::Rng,
    usable: impl Fn(&Endpoint) -> bool,
) -> Option<&'a Arc<Endpoint>> {
    let [a, b] = two(endpoints.len(), random).map(|i| endpoints.get(i));
    if let (Some(a), Some(b)) = (a, b)
        && usable(a)
        && usable(b)
    {
        return Some(better(a, b));
    }
    let count = endpoints.iter().filter(|e| usable(e)).count();
    if count == 0 {
        return None;
    }
    let [a, b] = two(count, random);
    let mut left = endpoints.iter().filter(|e| usable(e));
    let low = left.nth(a.min(b))?;
    if a == b {
        return Some(low);
    }
    // Another thread may have ejected one in between: then there is no second.
    let Some(high) = left.nth(a.max(b) - a.min(b) - 1) else { return Some(low) };
    Some(if a < b { better(low, high) } else { better(high, low) })
}

/// Two different places below `len`; the same twice if there is only one.
fn two(len: usize, random: &mut fastrand::Rng) -> [usize; 2] {
    if len < 2 {
        return [0, 0];
    }
    let a = random.usize(..len);
    let b = a + 1 + random.usize(..len - 1);
    [a, if b < len { b } else { b - len }]
}

/// On a tie the first, which is as random as the second.
fn better<'a>(a: &'a Arc<Endpoint>, b: &'a Arc<Endpoint>) -> &'a Arc<Endpoint> {
    if b.active() < a.active() { b } else { a }
}
