//! Whether a request is sent once more, and after how long (GEP-1731).
//!
//! Not whether it can be: whoever asks has kept what must be sent again.

use std::time::Duration;

use http::StatusCode;

use crate::model::Retry;

/// How often a request is sent again where a rule says that it is, but not how often.
const DEFAULT_ATTEMPTS: u32 = 2;
/// How long is waited before the first time where the rule does not say (Envoy waits as long).
const DEFAULT_BACKOFF: Duration = Duration::from_millis(25);
/// The wait doubles so often at most: an endpoint that has been away for so long is away.
const MOST_DOUBLINGS: u32 = 3;

/// How an attempt ended that may have been in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing of the request was sent: no connection, or one that had just been closed.
    Unsent,
    /// It was sent, and the connection broke before a response came.
    Lost,
    /// No response came within the rule's `backendRequest`.
    TimedOut,
    /// A response with this status.
    Answered(StatusCode),
}

/// Send it once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again {
    /// Not before so long.
    pub wait: Duration,
    /// Whether the endpoint has failed: it neither took the request nor answered.
    pub failed: bool,
    /// Whether it is the one that nobody has asked for: what was sent once has been lost on the way.
    pub free: bool,
}

/// What is left to one request.
#[derive(Debug)]
pub struct Retries<'a> {
    policy: Option<&'a Retry>,
    idempotent: bool,
    /// Whether the one try is left that costs nobody anything: at once, when nothing was sent.
    free: bool,
    left: u32,
    made: u32,
}

// === impl Retries ===

impl<'a> Retries<'a> {
    /// Those of a request of a rule with this `retry`; `idempotent`: its method is (RFC 9110, 9.2.2).
    #[inline]
    pub fn new(policy: Option<&'a Retry>, idempotent: bool) -> Self {
        let left = policy.map_or(0, |policy| policy.attempts.unwrap_or(DEFAULT_ATTEMPTS));
        // "An explicit zero value MUST disable retries."
        let free = policy.is_none() || left > 0;
        Self { policy, idempotent, free, left, made: 0 }
    }

    /// Whether to send it once more after `outcome`; counts that as done. `random` is uniform over all
    /// of `u64`.
    ///
    /// Without a `retry`, once and at once, if nothing was sent or the method is idempotent. With one,
    /// besides that first try for what was not sent, as often as it says. What was sent and lost may
    /// have had its effect: a method that is not idempotent is not sent again then, whatever the rule
    /// says, for a broken connection is nothing that its author could know.
    pub fn after(&mut self, outcome: Outcome, random: u64) -> Option<Again> {
        let failed = matches!(outcome, Outcome::Unsent | Outcome::Lost);
        let free = match outcome {
            Outcome::Unsent => true,
            Outcome::Lost => self.policy.is_none() && self.idempotent,
            Outcome::TimedOut | Outcome::Answered(_) => false,
        };
        if free && std::mem::take(&mut self.free) {
            return Some(Again { wait: Duration::ZERO, failed, free: true });
        }
        let policy = self.policy?;
        if self.left == 0 || !self.wanted(outcome) {
            return None;
        }
        self.left -= 1;
        self.made += 1;
        let wait = backoff(policy.backoff.unwrap_or(DEFAULT_BACKOFF), self.made, random);
        Some(Again { wait, failed, free: false })
    }

    /// Whether the rule would have had it sent again after `outcome`, had there been tries left.
    pub fn exhausted(&self, outcome: Outcome) -> bool {
        self.made > 0 && self.left == 0 && self.wanted(outcome)
    }

    fn wanted(&self, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Unsent | Outcome::TimedOut => self.policy.is_some(),
            Outcome::Lost => self.policy.is_some() && self.idempotent,
            Outcome::Answered(code) => self.policy.is_some_and(|p| p.codes.contains(&code)),
        }
    }
}

/// How long to wait before the `nth` time (counted from 1): `base`, doubled each time, and up to half
/// as much more by chance, so that those who failed together do not come again together.
fn backoff(base: Duration, nth: u32, random: u64) -> Duration {
    let doublings = nth.saturating_sub(1).min(MOST_DOUBLINGS);
    let wait = base.saturating_mul(1 << doublings);
    let share = (random >> 11) as f64 / (1_u64 << 53) as f64;
    wait.saturating_add((wait / 2).mul_f64(share))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FAILED: Outcome = Outcome::Answered(StatusCode::SERVICE_UNAVAILABLE);

    fn policy(attempts: Option<u32>) -> Retry {
        let codes = vec![StatusCode::SERVICE_UNAVAILABLE];
        Retry { codes, attempts, backoff: Some(Duration::from_millis(100)) }
    }

    fn outcomes() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            Just(Outcome::Unsent),
            Just(Outcome::Lost),
            Just(Outcome::TimedOut),
            Just(FAILED),
            Just(Outcome::Answered(StatusCode::OK)),
        ]
    }

    #[test]
    fn a_rule_without_retry_has_one_try_more_for_what_can_do_no_harm() {
        for (idempotent, outcome, again) in [
            (true, Outcome::Unsent, true),
            (false, Outcome::Unsent, true),
            (true, Outcome::Lost, true),
            (false, Outcome::Lost, false),
            (true, Outcome::TimedOut, false),
            (true, FAILED, false),
        ] {
            let mut retries = Retries::new(None, idempotent);
            let first = retries.after(outcome, 7);
            let at_once = Again { wait: Duration::ZERO, failed: true, free: true };
            assert_eq!(first, again.then_some(at_once), "{outcome:?} {idempotent}");
            assert_eq!(retries.after(outcome, 7), None, "{outcome:?}: only once");
        }
    }

    #[test]
    fn attempts_count_what_comes_after_the_first() {
        let policy = policy(Some(2));
        let mut retries = Retries::new(Some(&policy), false);
        assert!(!retries.exhausted(FAILED), "not before the first");
        assert!(retries.after(FAILED, 0).is_some_and(|again| !again.failed));
        assert!(retries.after(Outcome::TimedOut, 0).is_some_and(|again| !again.failed));
        assert_eq!(retries.after(FAILED, 0), None);
        assert!(retries.exhausted(FAILED));
        assert!(!retries.exhausted(Outcome::Answered(StatusCode::OK)));
    }

    #[test]
    fn a_status_that_is_not_listed_is_an_answer() {
        let policy = policy(None);
        let mut retries = Retries::new(Some(&policy), true);
        assert_eq!(retries.after(Outcome::Answered(StatusCode::BAD_GATEWAY), 0), None);
        assert_eq!(retries.after(Outcome::Answered(StatusCode::OK), 0), None);
    }

    #[test]
    fn what_was_lost_is_sent_again_only_if_that_does_no_harm() {
        let policy = policy(Some(3));
        assert!(Retries::new(Some(&policy), true).after(Outcome::Lost, 0).is_some());
        assert_eq!(Retries::new(Some(&policy), false).after(Outcome::Lost, 0), None);
    }

    #[test]
    fn no_attempts_are_none_at_all() {
        let policy = policy(Some(0));
        for outcome in [Outcome::Unsent, Outcome::Lost, Outcome::TimedOut, FAILED] {
            assert_eq!(Retries::new(Some(&policy), true).after(outcome, 0), None, "{outcome:?}");
        }
    }

    #[test]
    fn the_first_try_for_what_was_not_sent_is_free() {
        let policy = policy(Some(1));
        let mut retries = Retries::new(Some(&policy), false);
        let waits: Vec<_> = (0..3).map(|_| retries.after(Outcome::Unsent, 0)).collect();
        let again = |ms, free| Some(Again { wait: Duration::from_millis(ms), failed: true, free });
        assert_eq!(waits, [again(0, true), again(100, false), None]);
    }

    #[test]
    fn waits_double_up_to_eight_times_the_first() {
        let wait = |nth, random| backoff(Duration::from_millis(100), nth, random).as_millis();
        let least: Vec<_> = (1..=6).map(|nth| wait(nth, 0)).collect();
        assert_eq!(least, [100, 200, 400, 800, 800, 800]);
        let most: Vec<_> = (1..=4).map(|nth| wait(nth, u64::MAX)).collect();
        assert_eq!(most, [150, 300, 600, 1200]);
    }

    proptest! {
        #[test]
        fn there_are_never_more_tries_than_asked_for(
            attempts in prop::option::of(0..6_u32),
            idempotent: bool,
            course in prop::collection::vec((outcomes(), any::<u64>()), 0..20),
        ) {
            let policy = policy(attempts);
            let mut retries = Retries::new(Some(&policy), idempotent);
            let most = attempts.unwrap_or(DEFAULT_ATTEMPTS);
            let (mut waited, mut at_once) = (0, 0);
            for (outcome, random) in course {
                let Some(again) = retries.after(outcome, random) else { continue };
                if again.wait.is_zero() {
                    prop_assert_eq!(outcome, Outcome::Unsent);
                    at_once += 1;
                } else {
                    prop_assert!(again.wait >= Duration::from_millis(100), "{:?}", again);
                    prop_assert!(again.wait <= Duration::from_millis(1200), "{:?}", again);
                    waited += 1;
                }
            }
            prop_assert!(waited <= most && at_once <= u32::from(most > 0), "{} {}", waited, at_once);
        }

        #[test]
        fn no_backoff_overflows(ms in 0..=4 * 99_999 * 3_600_000_u64, nth: u32, random: u64) {
            let base = Duration::from_millis(ms);
            prop_assert!(backoff(base, nth, random) >= base);
        }
    }
}
