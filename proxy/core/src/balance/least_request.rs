//! The power of two choices: M. Mitzenmacher, "The Power of Two Choices in Randomized Load
//! Balancing", IEEE TPDS 12(10), 2001. Two at random, the less busy of them: nearly as even as
//! looking at all, and free of the herd that runs for the one idlest endpoint.

use std::sync::Arc;

use super::Endpoint;

/// The index of the less busy of two different endpoints at random; `None` if there are none.
pub(super) fn least_request(
    endpoints: &[Arc<Endpoint>],
    random: &mut fastrand::Rng,
) -> Option<usize> {
    match endpoints.len() {
        0 => None,
        1 => Some(0),
        n => {
            let first = random.usize(..n);
            // Shifted past the first: never the same twice, and each pair equally likely.
            let second = (first + 1 + random.usize(..n - 1)) % n;
            let busier = endpoints[first].active() > endpoints[second].active();
            Some(if busier { second } else { first })
        }
    }
}
