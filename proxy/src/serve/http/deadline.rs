//! When a request's time is over (GEP-1742).
//!
//! One timer for both of a rule's timeouts; none for a rule without any.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use nodeway_core::model::Timeouts;
use pin_project_lite::pin_project;
use tokio::time::Sleep;

/// Goes with a request from its head to its response's end.
#[derive(Debug)]
pub(super) struct Deadline {
    sleep: Pin<Box<Sleep>>,
    /// Of all attempts together.
    whole: Option<Instant>,
    /// What each attempt has.
    attempt: Option<Duration>,
}

/// What is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expired {
    /// The time of the request.
    Request,
    /// The time of this attempt.
    Attempt,
}

pin_project! {
    /// See [`within`].
    #[derive(Debug)]
    pub(super) struct Within<'a, F> {
        deadline: Option<&'a mut Deadline>,
        #[pin]
        future: F,
    }
}

// === impl Deadline ===

impl Deadline {
    /// That of a request whose head came at `start`, if it has one.
    pub(super) fn of(timeouts: Timeouts, start: Instant) -> Option<Self> {
        let Timeouts { request, backend_request } = timeouts;
        let whole = request.map(|time| start + time);
        let first = whole.or(backend_request.map(|time| start + time))?;
        let sleep = Box::pin(tokio::time::sleep_until(first.into()));
        Some(Self { sleep, whole, attempt: backend_request })
    }

    /// An attempt begins now.
    pub(super) fn begin_attempt(&mut self) {
        let Some(time) = self.attempt else { return };
        let end = Instant::now() + time;
        let end = self.whole.map_or(end, |whole| whole.min(end));
        self.sleep.as_mut().reset(end.into());
    }

    /// Whether the request's own time would be over after `wait`.
    pub(super) fn forbids(&self, wait: Duration) -> bool {
        self.whole.is_some_and(|whole| Instant::now() + wait >= whole)
    }

    /// Ready when the time is over, of the attempt or the request.
    pub(super) fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<Expired> {
        self.sleep.as_mut().poll(cx).map(|()| match self.whole {
            Some(whole) if self.sleep.deadline() >= whole.into() => Expired::Request,
            _ => Expired::Attempt,
        })
    }
}

/// Waits for `future` as long as there is time; what is over, if it is. No `async fn`: that would hold
/// `future` twice, which is large.
pub(super) fn within<F: Future>(deadline: &mut Option<Deadline>, future: F) -> Within<'_, F> {
    Within { deadline: deadline.as_mut(), future }
}

impl<F: Future> Future for Within<'_, F> {
    type Output = Result<F::Output, Expired>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(done) = this.future.poll(cx) {
            return Poll::Ready(Ok(done));
        }
        match this.deadline {
            Some(deadline) => deadline.poll_expired(cx).map(Err),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn deadline(request: Option<u32>, backend_request: Option<u32>) -> Option<Deadline> {
        let timeouts = Timeouts {
            request: request.map(|ms| MS * ms),
            backend_request: backend_request.map(|ms| MS * ms),
        };
        Deadline::of(timeouts, Instant::now())
    }

    fn run(test: impl Future<Output = ()>) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().build().unwrap().block_on(test);
    }

    #[test]
    fn a_rule_without_timeouts_has_no_timer() {
        assert!(deadline(None, None).is_none());
    }

    #[test]
    fn each_attempt_has_its_time_within_the_requests() {
        run(async {
            let mut deadline = deadline(Some(50), Some(30));
            let never = std::future::pending::<()>;
            for expected in [Expired::Attempt, Expired::Request] {
                deadline.as_mut().unwrap().begin_attempt();
                assert_eq!(within(&mut deadline, never()).await, Err(expected));
            }
            let deadline = deadline.unwrap();
            assert!(deadline.forbids(Duration::ZERO));
        });
    }

    #[test]
    fn what_is_done_in_time_is_done() {
        run(async {
            let mut deadline = deadline(Some(60_000), None);
            assert_eq!(within(&mut deadline, std::future::ready(7)).await, Ok(7));
            let deadline = deadline.unwrap();
            assert!(!deadline.forbids(MS * 30_000) && deadline.forbids(MS * 60_000));
        });
    }
}
