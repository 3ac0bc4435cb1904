//! How often an endpoint is asked, and how many of all are asked at once: so that N nodes do not add up to a
//! storm, without a word between them. docs/health.md has the arithmetic.

use std::time::Duration;

use nodeway_core::balance::Millis;

/// All nodes together ask one endpoint so often a second at most, if they do not send it many requests.
const CHECKS_OF_ENDPOINT: u64 = 100;
/// Who sends an endpoint so many requests may ask it once.
const REQUESTS_OF_CHECK: u64 = 10;
/// A new endpoint's first check comes within this, and until the first success one follows another so soon;
/// if it is asked more seldom anyway, by that.
const SOON_MILLIS: u64 = 1_000;

/// One node asks so often a second at most.
const CHECKS_OF_NODE: u64 = 250;
/// So many at once after a quiet time.
const BURST: u64 = 64;
const MOST_LEFT: i64 = BURST.cast_signed() * 1000;

/// How often the endpoints of one backend are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// From one check of an endpoint to the next, milliseconds.
    pub(super) interval: u64,
    /// The same until the first success, and within how long the first one comes.
    pub(super) soon: u64,
}

/// Requests to a backend in the last span of time.
#[derive(Debug)]
pub(super) struct Rate {
    since: Millis,
    requests: u64,
    /// In the span before, a second, thousandths.
    last: u64,
}

/// How many checks this node may begin now.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Thousandths of a check; less than nothing is owed.
    left: i64,
    at: Millis,
}

// === impl Pace ===

impl Pace {
    /// What `interval` comes to on one of so many nodes which sends each endpoint so many requests a second
    /// (thousandths).
    pub(super) fn new(interval: Duration, nodes: usize, requests: u64) -> Self {
        let wanted = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
        // If all nodes asked.
        let share = (nodes as u64).saturating_mul(1000) / CHECKS_OF_ENDPOINT;
        let earned = (REQUESTS_OF_CHECK * 1_000_000).checked_div(requests).unwrap_or(u64::MAX);
        let interval = wanted.max(share.min(earned));
        Self { interval, soon: interval.min(share.max(SOON_MILLIS)) }
    }
}

// === impl Rate ===

impl Rate {
    const SPAN_MILLIS: u64 = 10_000;

    pub(super) fn new(now: Millis) -> Self {
        Self { since: now, requests: 0, last: 0 }
    }

    pub(super) fn add(&mut self, requests: u32, now: Millis) {
        self.turn(now);
        self.requests += u64::from(requests);
    }

    /// A second, thousandths.
    pub(super) fn per_second(&mut self, now: Millis) -> u64 {
        self.turn(now);
        let span = now.0.saturating_sub(self.since.0).max(Self::SPAN_MILLIS);
        self.last.max(self.requests * 1_000_000 / span)
    }

    fn turn(&mut self, now: Millis) {
        let span = now.0.saturating_sub(self.since.0);
        if span >= Self::SPAN_MILLIS {
            self.last = self.requests * 1_000_000 / span;
            (self.since, self.requests) = (now, 0);
        }
    }
}

// === impl Bucket ===

impl Bucket {
    pub(super) fn new(now: Millis) -> Self {
        Self { left: MOST_LEFT, at: now }
    }

    /// Takes one check, or says when there is one.
    pub(super) fn take(&mut self, now: Millis) -> Result<(), Millis> {
        self.fill(now);
        if self.left < 1000 {
            let short = (1000 - self.left).unsigned_abs();
            return Err(Millis(now.0 + short.div_ceil(CHECKS_OF_NODE)));
        }
        self.left -= 1000;
        Ok(())
    }

    /// Takes one that cannot wait: those after it do.
    pub(super) fn owe(&mut self, now: Millis) {
        self.fill(now);
        self.left = self.left.saturating_sub(1000);
    }

    fn fill(&mut self, now: Millis) {
        let passed = now.0.saturating_sub(self.at.0).saturating_mul(CHECKS_OF_NODE);
        let passed = i64::try_from(passed).unwrap_or(i64::MAX);
        self.left = self.left.saturating_add(passed).min(MOST_LEFT);
        self.at = now.max(self.at);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1000;

    fn pace(seconds: u64, nodes: usize, requests: u64) -> Pace {
        Pace::new(Duration::from_secs(seconds), nodes, requests)
    }

    #[test]
    fn small_clusters_are_asked_as_the_policy_says() {
        assert_eq!(pace(10, 1, 0), Pace { interval: 10_000, soon: 1_000 });
        assert_eq!(pace(10, 1000, 0), Pace { interval: 10_000, soon: 10_000 });
        assert_eq!(pace(1, 100, 0), Pace { interval: 1_000, soon: 1_000 });
    }

    #[test]
    fn five_thousand_nodes_ask_an_endpoint_a_hundred_times_a_second() {
        let pace = pace(10, 5000, 0);
        assert_eq!(pace.interval, 50_000);
        assert_eq!(5000 * SECOND / pace.interval, CHECKS_OF_ENDPOINT);
    }

    #[test]
    fn who_sends_much_may_ask_as_the_policy_says() {
        // One request a second and endpoint: a check for ten of them.
        assert_eq!(pace(10, 5000, 1000).interval, 10_000);
        assert_eq!(pace(1, 5000, 1000).interval, 10_000);
        assert_eq!(pace(1, 5000, 100_000).interval, 1_000);
    }

    proptest! {
        #[test]
        fn checks_stay_within_their_share_or_a_tenth_of_the_requests(
            seconds in 1_u64..300, nodes in 1_usize..20_000, requests in 0_u64..1_000_000,
        ) {
            let pace = pace(seconds, nodes, requests);
            prop_assert!(pace.interval >= seconds * SECOND);
            prop_assert!(pace.soon <= pace.interval);
            // Of this node, in a million seconds.
            let checks = 1_000_000 * SECOND / pace.interval;
            let share = CHECKS_OF_ENDPOINT * 1_000_000 / nodes as u64;
            let earned = requests * 1_000 / REQUESTS_OF_CHECK;
            // Rounding of a millisecond.
            let slack = checks / 1_000 + checks / 100 + 1;
            prop_assert!(checks <= share.max(earned) + slack, "{checks} {share} {earned}");
        }

        #[test]
        fn a_node_never_begins_more_than_its_rate_and_a_burst(steps in proptest::collection::vec(0_u64..50, 1..400)) {
            let (mut bucket, mut now, mut begun) = (Bucket::new(Millis(0)), 0, 0);
            for step in steps {
                now += step;
                // Every third has a second one at once.
                while bucket.take(Millis(now)).is_ok() {
                    begun += 1;
                    if begun % 3 == 0 {
                        bucket.owe(Millis(now));
                        begun += 1;
                    }
                }
                prop_assert!(begun <= BURST + now * CHECKS_OF_NODE / 1000 + 1);
                let when = bucket.take(Millis(now)).unwrap_err();
                prop_assert!(when.0 > now && when.0 <= now + 8);
            }
        }
    }

    #[test]
    fn a_rate_follows_what_is_told() {
        let mut rate = Rate::new(Millis(0));
        rate.add(1, Millis(0));
        assert_eq!(rate.per_second(Millis(0)), 100, "one in ten seconds, as far as is known");
        rate.add(999, Millis(9_000));
        assert_eq!(rate.per_second(Millis(9_000)), 100_000);
        assert_eq!(rate.per_second(Millis(10_000)), 100_000);
        assert_eq!(rate.per_second(Millis(20_000)), 0);
    }
}
