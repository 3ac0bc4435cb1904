//! Numbers of what is under way, which never pass their limits, whoever counts at the same time.

use std::num::NonZeroU32;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::budget::Windows;
use super::gradient::Gradient;
use super::room::Room;

/// So many of something.
#[derive(Debug, Default)]
pub(in crate::balance) struct Count(AtomicU32);

/// What is under way with a backend; outlives its endpoints and its policy.
///
/// Counted with and without limits, so that a policy that comes finds true numbers.
#[derive(Debug, Default)]
pub struct UnderWay {
    /// Requests, and connections that are relayed as they are.
    pub(super) active: Count,
    /// Those of them that are retries.
    pub(super) retries: Count,
    /// Requests that wait for a connection.
    pub(super) pending: Count,
    /// Connections that are open or being made.
    pub(super) connections: Count,
    /// When it was last told that something was refused, milliseconds.
    pub(super) told: AtomicU64,
    /// How often something was refused since.
    pub(super) untold: AtomicU32,
    /// Of a retry budget over time; made by the first request under one.
    pub(super) windows: OnceLock<Box<Windows>>,
    /// The adaptive limit; made by the first request under one.
    pub(super) gradient: OnceLock<Box<Gradient>>,
    /// Who waits for a connection, and which could be closed for him.
    pub(super) room: Room,
}

// === impl Count ===

impl Count {
    /// One more.
    #[inline]
    pub(in crate::balance) fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// One more, if that is not more than `most`.
    ///
    /// # Errors
    /// It would be more than this.
    #[inline]
    pub(in crate::balance) fn take(&self, most: Option<u32>) -> Result<(), u32> {
        let Some(most) = most else {
            self.add();
            return Ok(());
        };
        let more = |count: u32| (count < most).then(|| count + 1);
        match self.0.fetch_update(Relaxed, Relaxed, more) {
            Ok(_) => Ok(()),
            Err(_) => Err(most),
        }
    }

    /// One less: each that was added is taken off once.
    #[inline]
    pub(in crate::balance) fn sub(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    /// How many there are.
    #[inline]
    pub(in crate::balance) fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }

    /// Whether one more would be too many.
    #[inline]
    pub(in crate::balance) fn is_full(&self, most: Option<NonZeroU32>) -> bool {
        most.is_some_and(|most| self.get() >= most.get())
    }
}

// === impl UnderWay ===

impl UnderWay {
    /// Requests, or connections that are relayed as they are.
    pub fn active(&self) -> u32 {
        self.active.get()
    }

    /// Those of them that are retries.
    pub fn retries(&self) -> u32 {
        self.retries.get()
    }

    /// Requests that wait for a connection.
    pub fn pending(&self) -> u32 {
        self.pending.get()
    }

    /// Connections that are open or being made.
    pub fn connections(&self) -> u32 {
        self.connections.get()
    }

    /// Where the adaptive limit stands, if there is one.
    pub fn adaptive_limit(&self) -> Option<u32> {
        self.gradient.get().map(|gradient| gradient.limit())
    }
}
