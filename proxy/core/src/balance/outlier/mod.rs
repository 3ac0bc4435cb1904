//! Outliers: endpoints that fail, or fail or dawdle far more than the others, are left out for a while; and
//! what active health checks say of them.
//!
//! Passive detection follows Envoy's ("Outlier detection", its architecture overview) where nothing else is
//! said. Who asks endpoints how they are is the data plane's; readiness is Kubernetes' and stands above all.
//!
//! No thread and no clock: what is due happens in the report that finds it due.

mod claims;
mod event;
mod health;
mod judge;
#[cfg(test)]
mod properties;
mod runs;
#[cfg(test)]
mod tests;
mod windows;

pub use event::{Cause, Change, Ejection, HealthEvent};

pub(super) use claims::Claims;
pub(super) use health::Health;
pub(super) use windows::{Window, Windows};

/// What a backend remembers of its outliers while its endpoints come and go.
#[derive(Debug, Default)]
pub(super) struct Outliers {
    claims: Claims,
    windows: Windows,
}
