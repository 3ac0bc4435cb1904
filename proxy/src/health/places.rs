//! From where a backend's endpoints are asked: the network namespaces of the clients that use it.
//!
//! A client whom a network policy keeps from an endpoint must not make it ill for the others: whoever does
//! not reach what another one reaches in the same moment is asked last from then on.

use nodeway_core::balance::Millis;

use crate::upstream::Place;

/// Who has used a backend within this is one of its clients.
pub(super) const CLIENT_FOR_MILLIS: u64 = 60_000;
/// Who does not reach what others reach is tried again after this.
const CUT_OFF_FOR_MILLIS: u64 = 60_000;

/// Where sockets can be made.
pub(super) trait Spot: Clone {
    /// A number that is no other's.
    fn key(&self) -> u64;
    /// Whether they still can.
    fn is_there(&self) -> bool;
}

/// The clients of one backend.
#[derive(Debug)]
pub(super) struct Places<P> {
    clients: Vec<Client<P>>,
    /// Whose turn it was.
    turn: usize,
}

#[derive(Debug)]
struct Client<P> {
    place: P,
    used: Millis,
    /// Since when it is known not to reach what others do.
    cut_off: Option<Millis>,
}

impl Spot for Place {
    fn key(&self) -> u64 {
        Self::key(self)
    }

    fn is_there(&self) -> bool {
        match self {
            Self::Host => true,
            Self::Pod(_, netns) => netns.strong_count() > 0,
        }
    }
}

// === impl Places ===

impl<P: Spot> Places<P> {
    /// Nobody's.
    pub(super) fn new() -> Self {
        Self { clients: Vec::new(), turn: 0 }
    }

    /// A client has used the backend.
    pub(super) fn used(&mut self, place: P, now: Millis) {
        match self.clients.iter_mut().find(|client| client.place.key() == place.key()) {
            Some(client) => client.used = now,
            None => self.clients.push(Client { place, used: now, cut_off: None }),
        }
    }

    /// Forgets who has not used it lately, and pods that are gone. Says whether anybody is left.
    pub(super) fn sweep(&mut self, now: Millis) -> bool {
        self.clients.retain(|client| {
            now.0.saturating_sub(client.used.0) < CLIENT_FOR_MILLIS && client.place.is_there()
        });
        !self.clients.is_empty()
    }

    /// From where an endpoint is asked next: from each in turn, from those that are cut off only if
    /// there is nobody else.
    pub(super) fn next(&mut self, now: Millis) -> Option<P> {
        self.in_turn(|client| !client.is_cut_off(now)).or_else(|| self.in_turn(|_| true))
    }

    /// From where else, for a second opinion; none if only those are left that are cut off.
    pub(super) fn other(&mut self, than: u64, now: Millis) -> Option<P> {
        self.in_turn(|client| client.place.key() != than && !client.is_cut_off(now))
    }

    /// This one, if it is there.
    pub(super) fn at(&mut self, key: u64) -> Option<P> {
        self.find(key).filter(|client| client.place.is_there()).map(|client| client.place.clone())
    }

    /// It has reached an endpoint.
    pub(super) fn reached(&mut self, from: u64) {
        if let Some(client) = self.find(from) {
            client.cut_off = None;
        }
    }

    /// It has not reached what another one has reached just after. Says whether that is news.
    pub(super) fn cut_off(&mut self, from: u64, now: Millis) -> bool {
        self.find(from).is_some_and(|client| client.cut_off.replace(now).is_none())
    }

    fn find(&mut self, key: u64) -> Option<&mut Client<P>> {
        self.clients.iter_mut().find(|client| client.place.key() == key)
    }

    fn in_turn(&mut self, fits: impl Fn(&Client<P>) -> bool) -> Option<P> {
        let count = self.clients.len();
        let mut places = (1..=count).map(|step| (self.turn + step) % count);
        let found = places.find(|at| {
            let client = &self.clients[*at];
            client.place.is_there() && fits(client)
        })?;
        self.turn = found;
        Some(self.clients[found].place.clone())
    }
}

// === impl Client ===

impl<P> Client<P> {
    fn is_cut_off(&self, now: Millis) -> bool {
        self.cut_off.is_some_and(|since| now.0.saturating_sub(since.0) < CUT_OFF_FOR_MILLIS)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    /// A pod that can go.
    #[derive(Debug, Clone)]
    pub(in crate::health) struct Pod(
        pub(in crate::health) u64,
        pub(in crate::health) Rc<Cell<bool>>,
    );

    impl Pod {
        pub(in crate::health) fn new(key: u64) -> Self {
            Self(key, Rc::new(Cell::new(true)))
        }
    }

    impl Spot for Pod {
        fn key(&self) -> u64 {
            self.0
        }

        fn is_there(&self) -> bool {
            self.1.get()
        }
    }

    fn places(of: impl IntoIterator<Item = u64>) -> (Places<Pod>, Vec<Pod>) {
        let (mut places, mut pods) = (Places::new(), Vec::new());
        for key in of {
            let pod = Pod::new(key);
            places.used(pod.clone(), Millis(0));
            pods.push(pod);
        }
        (places, pods)
    }

    fn keys(places: &mut Places<Pod>, now: u64, times: usize) -> Vec<u64> {
        let mut keys: Vec<u64> =
            (0..times).filter_map(|_| places.next(Millis(now))).map(|pod| pod.0).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn each_client_has_its_turn() {
        let (mut places, _pods) = places([1, 2, 3]);
        assert_eq!(keys(&mut places, 0, 6), [1, 1, 2, 2, 3, 3]);
    }

    #[test]
    fn who_is_cut_off_is_asked_last_and_after_a_while_again() {
        let (mut places, pods) = places([1, 2]);
        assert!(places.cut_off(1, Millis(5)));
        assert!(!places.cut_off(1, Millis(5)), "no news");
        assert_eq!(keys(&mut places, 6, 3), [2, 2, 2]);
        assert!(places.other(2, Millis(6)).is_none(), "who sees nobody has no opinion");
        pods[1].1.set(false);
        assert_eq!(keys(&mut places, 6, 1), [1], "there is nobody else");
        pods[1].1.set(true);
        assert_eq!(keys(&mut places, 5 + CUT_OFF_FOR_MILLIS, 2), [1, 2]);
        places.cut_off(1, Millis(5 + CUT_OFF_FOR_MILLIS));
        places.reached(1);
        assert_eq!(keys(&mut places, 6 + CUT_OFF_FOR_MILLIS, 2), [1, 2]);
    }

    #[test]
    fn a_pod_that_is_gone_and_one_that_has_lost_interest_are_forgotten() {
        let (mut places, pods) = places([1, 2]);
        pods[0].1.set(false);
        assert_eq!(keys(&mut places, 1, 2), [2, 2]);
        assert!(places.sweep(Millis(1)));
        assert_eq!(places.clients.len(), 1);
        assert!(places.sweep(Millis(CLIENT_FOR_MILLIS - 1)));
        assert!(!places.sweep(Millis(CLIENT_FOR_MILLIS)));
        assert!(places.next(Millis(CLIENT_FOR_MILLIS)).is_none());
    }
}
