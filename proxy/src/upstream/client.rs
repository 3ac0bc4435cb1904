//! On whose behalf connections are made.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::pool::Pool;
use super::uses::Uses;
use crate::intercept::PodNetns;
use crate::runtime::Signal;

/// A client's number, for metric caches; never used twice in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientId(pub u64);

/// A pod, or the users of a plain listener, as one worker serves it: where its connections are made
/// and which of them lie idle. One client's connections are never lent to another.
#[derive(Debug)]
pub struct Client {
    /// Its number.
    pub id: ClientId,
    /// The namespace of its pod, if it is one: routes of other namespaces than their Service's are for
    /// clients of their own alone.
    pub namespace: Option<Arc<str>>,
    /// Its workload, for metrics and logs.
    pub workload: Arc<str>,
    /// Where its sockets are made; the proxy's own namespace if absent.
    pub netns: Option<Arc<PodNetns>>,
    /// Fires when it is to be served no longer: finish what is under way.
    pub closing: Signal,
    pub(super) pool: RefCell<Pool>,
    pub(super) uses: Uses,
}

impl Client {
    /// A client without connections.
    pub fn new(
        namespace: Option<Arc<str>>,
        workload: Arc<str>,
        netns: Option<Arc<PodNetns>>,
        closing: Signal,
    ) -> Rc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = ClientId(NEXT.fetch_add(1, Ordering::Relaxed));
        let (pool, uses) = (RefCell::default(), Uses::default());
        Rc::new(Self { id, namespace, workload, netns, closing, pool, uses })
    }
}
