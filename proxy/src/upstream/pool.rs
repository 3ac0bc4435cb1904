//! Idle connections of one client on one worker.

use std::collections::HashMap;
use std::rc::Rc;

use foldhash::fast::FixedState;
use hyper::client::conn::http1;
use nodeway_core::balance::{EndpointId, Millis};

use super::shared::Shared;
use super::{RequestBody, Version};
use crate::runtime::Clock;

/// An idle HTTP/1 connection is closed after so long. Shorter than the idle limits of the servers
/// that people run most (nginx 75 s, Apache 5 s is the exception), so that we close first.
pub(super) const IDLE_LIFE_MILLIS: u64 = 60_000;
/// Idle HTTP/1 connections kept per endpoint.
const MAX_IDLE: usize = 256;

/// To whom a connection leads, and how. A policy that has become another has another number: what was
/// agreed under the former one is not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PoolKey {
    pub(super) endpoint: EndpointId,
    /// The number of the policy; 0 in the clear.
    pub(super) tls: u64,
}

/// The connections of one client that wait for a request, or take another one.
#[derive(Debug, Default)]
pub(super) struct Pool {
    http1: HashMap<PoolKey, Vec<Idle>, FixedState>,
    http2: HashMap<PoolKey, Rc<Shared>, FixedState>,
    /// What servers chose to speak that had the choice; kept as long as there are connections.
    chosen: HashMap<PoolKey, Version, FixedState>,
    /// Whether a task sweeps this pool.
    pub(super) swept: bool,
}

#[derive(Debug)]
struct Idle {
    sender: http1::SendRequest<RequestBody>,
    since: Millis,
}

// === impl Pool ===

impl Pool {
    /// The connection that was used last and is ready: the oldest ones get to expire.
    pub(super) fn take_http1(&mut self, key: PoolKey) -> Option<http1::SendRequest<RequestBody>> {
        let idle = self.http1.get_mut(&key)?;
        let mut at = idle.len();
        while at > 0 {
            at -= 1;
            if idle[at].sender.is_closed() {
                idle.swap_remove(at);
            } else if idle[at].sender.is_ready() {
                // Behind the last one may lie one that is still busy with its last body's end.
                return Some(idle.remove(at).sender);
            }
        }
        None
    }

    /// Keeps a connection whose response has ended; `false` if there are enough.
    pub(super) fn put_http1(
        &mut self,
        key: PoolKey,
        sender: http1::SendRequest<RequestBody>,
        now: Millis,
    ) -> bool {
        if sender.is_closed() {
            return false;
        }
        let idle = self.http1.entry(key).or_default();
        if idle.len() >= MAX_IDLE {
            return false;
        }
        idle.push(Idle { sender, since: now });
        true
    }

    /// The endpoint's HTTP/2 connections.
    pub(super) fn http2(&mut self, key: PoolKey, clock: Clock) -> Rc<Shared> {
        Rc::clone(self.http2.entry(key).or_insert_with(|| Shared::new(clock)))
    }

    /// What the server chose to speak when it had the choice.
    pub(super) fn chosen(&self, key: PoolKey) -> Option<Version> {
        self.chosen.get(&key).copied()
    }

    /// The server has chosen to speak this.
    pub(super) fn choose(&mut self, key: PoolKey, version: Version) {
        self.chosen.insert(key, version);
    }

    /// Drops what is closed or has been idle for too long; says how many connections are left.
    pub(super) fn sweep(&mut self, now: Millis) -> usize {
        let young = |since: Millis| now.0.saturating_sub(since.0) < IDLE_LIFE_MILLIS;
        self.http1.retain(|_, idle| {
            idle.retain(|i| !i.sender.is_closed() && young(i.since));
            !idle.is_empty()
        });
        // Who is about to use an empty one holds it, too.
        self.http2.retain(|_, shared| shared.sweep(young) || Rc::strong_count(shared) > 1);
        let (http1, http2) = (&self.http1, &self.http2);
        self.chosen.retain(|key, _| http1.contains_key(key) || http2.contains_key(key));
        self.http1.values().map(Vec::len).sum::<usize>() + self.http2.len()
    }
}

#[cfg(test)]
mod tests {
    use hyper_util::rt::TokioIo;

    use super::*;

    #[test]
    fn nothing_is_remembered_of_a_connection_that_is_closed() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (ours, _theirs) = tokio::io::duplex(1024);
        let (sender, connection) =
            runtime.block_on(http1::handshake::<_, RequestBody>(TokioIo::new(ours))).unwrap();
        drop(connection);
        let mut pool = Pool::default();
        let key = PoolKey { endpoint: EndpointId(1), tls: 0 };
        assert!(!pool.put_http1(key, sender, Millis(0)));
        assert!(pool.http1.is_empty());
    }
}
