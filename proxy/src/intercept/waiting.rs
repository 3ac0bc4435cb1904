//! Pods that should be caught and cannot be yet: why, and when to try again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nodeway_core::model::{ObjectName, Pod};

/// A pod's sandbox comes up within a second or so of its being known; the pauses double from here
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// to here.
const MOST_PAUSE: Duration = Duration::from_secs(1);
/// A pod that is only slow to start is said to be so after this.
const SLOW: Duration = Duration::from_secs(10);

/// Why a pod is not enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reason {
    /// It does not run yet.
    NotYet(String),
    /// Something is wrong.
    Failed(String),
}

/// One pod that waits.
#[derive(Debug)]
struct Waiter {
    pod: Arc<Pod>,
    since: Instant,
    next: Instant,
    pause: Duration,
    /// None before the first try.
    reason: Option<Reason>,
    /// What has been said of it.
    told: Option<Reason>,
}

/// All that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    waiters: HashMap<ObjectName, Waiter>,
}

// === impl Waiting ===

impl Waiting {
    /// `pod` is to be tried at once; if it waits already, it is known anew.
    pub(super) fn add(&mut self, pod: &Arc<Pod>, now: Instant) {
        let pod = Arc::clone(pod);
        match self.waiters.get_mut(&pod.name) {
            Some(waiter) if waiter.pod.uid == pod.uid => {
                (waiter.next, waiter.pause, waiter.pod) = (now, FIRST_PAUSE, pod);
            }
            _ => {
                let (reason, told) = (None, None);
                let name = pod.name.clone();
                let waiter =
                    Waiter { pod, since: now, next: now, pause: FIRST_PAUSE, reason, told };
                self.waiters.insert(name, waiter);
            }
        }
    }

    /// The pod as it is known, if it waits.
    pub(super) fn get(&self, name: &ObjectName) -> Option<&Arc<Pod>> {
        self.waiters.get(name).map(|waiter| &waiter.pod)
    }

    /// Those that are not `wanted` wait no longer.
    pub(super) fn retain(&mut self, wanted: impl Fn(&ObjectName) -> bool) {
        self.waiters.retain(|name, _| wanted(name));
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.waiters.values().map(|waiter| waiter.next).min()
    }

    /// Those that are due now, by name.
    pub(super) fn due(&self, now: Instant) -> Vec<Arc<Pod>> {
        let due = self.waiters.values().filter(|waiter| waiter.next <= now);
        let mut due: Vec<_> = due.map(|waiter| Arc::clone(&waiter.pod)).collect();
        due.sort_by(|a, b| a.name.cmp(&b.name));
        due
    }

    /// `name` need not wait any more; since when it has.
    pub(super) fn remove(&mut self, name: &ObjectName) -> Option<Instant> {
        self.waiters.remove(name).map(|waiter| waiter.since)
    }

    /// `name` was tried in vain. The reason, if it is to be told now: a failure once, a slow start once
    /// it is slow.
    pub(super) fn again(
        &mut self,
        name: &ObjectName,
        reason: Reason,
        now: Instant,
    ) -> Option<&str> {
        let waiter = self.waiters.get_mut(name)?;
        waiter.next = now + waiter.pause;
        waiter.pause = (waiter.pause * 2).min(MOST_PAUSE);
        let tell = waiter.told.as_ref() != Some(&reason)
            && match &reason {
                Reason::Failed(_) => true,
                Reason::NotYet(_) => now.duration_since(waiter.since) >= SLOW,
            };
        if tell {
            waiter.told = Some(reason.clone());
        }
        let (Reason::NotYet(why) | Reason::Failed(why)) = waiter.reason.insert(reason);
        tell.then_some(&**why)
    }

    /// How many have not started yet, and how many cannot be enrolled.
    pub(super) fn count(&self) -> (usize, usize) {
        let failed = |waiter: &&Waiter| matches!(waiter.reason, Some(Reason::Failed(_)));
        let failed = self.waiters.values().filter(failed).count();
        (self.waiters.len() - failed, failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str) -> Arc<Pod> {
        Arc::new(Pod {
            name: ObjectName::new("shop", "web"),
            uid: uid.into(),
            mirror: false,
            mesh: None,
            node: None,
            host_network: false,
            ended: false,
            workload: "web".into(),
            ips: Arc::default(),
            netns: None,
        })
    }

    #[test]
    fn pauses_double_and_news_of_the_pod_begin_them_anew() {
        let (mut waiting, mut now) = (Waiting::default(), Instant::now());
        let web = pod("1");
        waiting.add(&web, now);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            assert_eq!(waiting.due(now).len(), 1);
            waiting.again(&web.name, Reason::NotYet("-".to_owned()), now);
            let next = waiting.next().unwrap();
            pauses.push((next - now).as_millis());
            assert!(waiting.due(now).is_empty());
            now = next;
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        waiting.again(&web.name, Reason::NotYet("-".to_owned()), now);
        waiting.add(&web, now);
        assert_eq!(waiting.next(), Some(now));
    }

    #[test]
    fn a_failure_is_told_once_a_slow_start_when_it_is_slow() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        let web = pod("1");
        waiting.add(&web, now);
        let not_yet = || Reason::NotYet("not yet".to_owned());
        assert_eq!(waiting.again(&web.name, not_yet(), now), None);
        assert_eq!(waiting.count(), (1, 0));
        assert_eq!(waiting.again(&web.name, not_yet(), now + SLOW), Some("not yet"));
        assert_eq!(waiting.again(&web.name, not_yet(), now + SLOW * 2), None);
        let failed = || Reason::Failed("full".to_owned());
        assert_eq!(waiting.again(&web.name, failed(), now), Some("full"));
        assert_eq!(waiting.again(&web.name, failed(), now), None);
        assert_eq!(waiting.count(), (0, 1));
    }

    #[test]
    fn a_pod_made_anew_under_its_name_waits_from_then_on() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        waiting.add(&pod("1"), now);
        let later = now + SLOW;
        waiting.add(&pod("1"), later);
        waiting.add(&pod("2"), later);
        assert_eq!(waiting.remove(&pod("2").name), Some(later));
        assert_eq!(waiting.next(), None);
    }
}
