//! The kernel side, and whom it catches: brought in line with each snapshot, and looked after in between.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nodeway_core::model::Pod;
use nodeway_core::snapshot::Snapshot;

use super::carried::{Carried, Means};
use super::workers::Workers;
use crate::intercept::{
    Accelerated, Acceleration, Enrolment, InterceptError, Interceptor, Options,
};

/// How often the kernel side is looked after: so long, at most, nobody catches if a successor has died.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Catching {
    pub(super) interceptor: Interceptor,
    enrolment: Enrolment,
    /// None before there is anything to count with.
    carried: Option<Carried>,
    /// When the kernel side is looked after next.
    look_after: Instant,
}

// === impl Catching ===

impl Catching {
    /// Nobody is caught yet.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn start(options: &Options) -> Result<Self, InterceptError> {
        let interceptor = Interceptor::start(options)?;
        let now = Instant::now();
        let enrolment = Enrolment::new(&options.cgroup, now);
        Ok(Self { interceptor, enrolment, carried: None, look_after: now + LOOK_AFTER })
    }

    /// Whether connections are accelerated, and what counts it. Once.
    ///
    /// # Errors
    /// The object lacks the map.
    pub(super) fn accelerated(&mut self) -> Result<(Acceleration, Accelerated), InterceptError> {
        let accelerated = self.interceptor.take_accelerated()?;
        Ok((self.interceptor.acceleration().clone(), accelerated))
    }

    /// From now on frontends that need no proxy go without.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn carry(&mut self, means: Means) -> Result<(), InterceptError> {
        self.carried = Some(Carried::start(&mut self.interceptor, means)?);
        Ok(())
    }

    /// What is dialled at these addresses is as the snapshot says. How many frontends there are, and how many
    /// of them go without the proxy.
    pub(super) fn frontends(
        &mut self,
        snapshot: &Snapshot,
        touched: Vec<SocketAddr>,
    ) -> (usize, usize) {
        let Some(carried) = &mut self.carried else { return (0, 0) };
        carried.frontends(&mut self.interceptor, snapshot, touched);
        (self.interceptor.frontends(), carried.len())
    }

    /// These pods are to be caught from now on, and nobody else.
    pub(super) fn want(&mut self, pods: &[Arc<Pod>], workers: &mut Workers) {
        self.enrolment.want(pods, Instant::now(), &mut self.interceptor, workers);
    }

    /// When there is something to proceed with again.
    pub(super) fn next(&self) -> Instant {
        let carried = self.carried.as_ref().and_then(Carried::next);
        let others = self.enrolment.next().into_iter().chain(carried).min();
        others.map_or(self.look_after, |next| next.min(self.look_after))
    }

    /// Does what is due.
    pub(super) fn proceed(&mut self, workers: &mut Workers) {
        let now = Instant::now();
        if self.look_after <= now {
            self.look_after = now + LOOK_AFTER;
            if let Err(error) = self.interceptor.look_after() {
                tracing::error!(%error, "connects are not caught");
            }
        }
        if let Some(carried) = &mut self.carried {
            carried.proceed(&mut self.interceptor, &self.enrolment);
        }
        self.enrolment.proceed(now, workers.threads.len(), &mut self.interceptor, workers);
        let (enrolled, starting, failed) = self.enrolment.count();
        workers.gauges.pods(enrolled, starting, failed);
    }

    /// Catches nobody any more.
    pub(super) fn clear(&mut self, workers: &mut Workers) {
        self.interceptor.give_back();
        if let Some(carried) = &mut self.carried {
            carried.read(&self.enrolment);
        }
        self.enrolment.clear(&mut self.interceptor, workers);
    }
}
