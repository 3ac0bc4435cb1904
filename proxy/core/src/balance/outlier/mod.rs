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
mod reach;
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

/// A client's number, whose lower bits may be all that differs from others', as one of which all bits do.
#[inline]
fn spread(client: u64) -> u64 {
    let mixed = (client ^ client >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 32
}

/// A name for a client that few others have.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
fn tag(client: u64) -> u32 {
    spread(client) as u32
}
