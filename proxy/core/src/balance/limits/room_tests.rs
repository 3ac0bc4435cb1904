//! Who waits for a connection gets one, in his turn, whoever comes and goes meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Wake, Waker};

use super::tests::{backend, some};
use crate::balance::{Backend, Connected, Limit, Millis, Overflow, Scope, Waiting};
use crate::model::{Amounts, BackendSettings, Limits};

#[derive(Default)]
struct Calls(AtomicUsize);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn limited(endpoints: u64, all: u32, each: u32, pending: Option<u32>) -> Backend {
    let limits = Limits {
        backend: Amounts { connections: some(all), pending, active: None },
        endpoint: Amounts { connections: some(each), ..Amounts::default() },
        ..Limits::default()
    };
    backend(endpoints, BackendSettings { limits, ..BackendSettings::default() })
}

fn is_called(waiting: &Waiting) -> bool {
    waiting.poll_turn(&Context::from_waker(Waker::noop())).is_ready()
}

fn connect(backend: &Backend, endpoint: usize) -> Result<Connected, (Scope, u32)> {
    let connected = backend.connect(&backend.endpoints()[endpoint]);
    connected.map_err(|overflow| {
        assert_eq!(overflow.limit, Limit::Connections);
        (overflow.of, overflow.most)
    })
}

fn try_to_wait(backend: &Backend, endpoint: usize) -> Result<Waiting, Overflow> {
    let under_way = backend.lasting().under_way();
    under_way.wait(&backend.settings().limits, &backend.endpoints()[endpoint])
}

fn wait(backend: &Backend, endpoint: usize) -> Waiting {
    try_to_wait(backend, endpoint).unwrap()
}

#[test]
fn connections_are_bounded_for_the_backend_and_for_each_endpoint() {
    let backend = limited(2, 3, 2, None);
    let held = [connect(&backend, 0).unwrap(), connect(&backend, 0).unwrap()];
    assert_eq!(connect(&backend, 0).unwrap_err(), (Scope::Endpoint, 2));
    let third = connect(&backend, 1).unwrap();
    assert_eq!(connect(&backend, 1).unwrap_err(), (Scope::Backend, 3));
    drop(held);
    assert!(connect(&backend, 1).is_ok());
    drop(third);
    assert_eq!(backend.lasting().under_way().connections(), 0);
}

#[test]
fn no_more_wait_than_may() {
    let backend = limited(1, 1, 1, Some(2));
    let waiting = [wait(&backend, 0), wait(&backend, 0)];
    let overflow = try_to_wait(&backend, 0).unwrap_err();
    assert_eq!((overflow.limit, overflow.of, overflow.most), (Limit::Pending, Scope::Backend, 2));
    drop(waiting);
    assert_eq!(backend.lasting().under_way().pending(), 0);
    let _waits = wait(&backend, 0);
}

#[test]
fn those_who_wait_are_called_in_their_order() {
    let backend = limited(1, 1, 1, None);
    let busy = connect(&backend, 0).unwrap();
    let (first, second) = (wait(&backend, 0), wait(&backend, 0));
    assert!(is_called(&first), "there may have been room when he came");
    assert!(!is_called(&first) && !is_called(&second));
    drop(busy);
    assert!(!is_called(&second), "not his turn");
    assert!(is_called(&first));
    let busy = connect(&backend, 0).unwrap();
    drop(first);
    assert!(is_called(&second), "to see whether something is left");
    assert!(connect(&backend, 0).is_err() && !is_called(&second));
    drop(busy);
    assert!(is_called(&second));
}

#[test]
fn a_call_to_who_has_left_goes_to_the_next() {
    let backend = limited(1, 1, 1, None);
    let busy = connect(&backend, 0).unwrap();
    let (first, second) = (wait(&backend, 0), wait(&backend, 0));
    assert!(is_called(&first) && !is_called(&second));
    let calls = Arc::new(Calls::default());
    let waker = Waker::from(Arc::clone(&calls));
    assert!(second.poll_turn(&Context::from_waker(&waker)).is_pending());
    drop(busy);
    assert_eq!(calls.0.load(Relaxed), 0);
    drop(first);
    assert_eq!(calls.0.load(Relaxed), 1);
    assert!(is_called(&second));
}

#[test]
fn the_connection_that_has_been_idle_for_longest_makes_room() {
    // Where the endpoint is full, too, its own must go.
    for (each, closed) in [(3, 2), (2, 0)] {
        let backend = limited(2, 3, each, None);
        let mut connections = [0, 0, 1].map(|endpoint| connect(&backend, endpoint).ok());
        let tickets =
            [0, 1, 2].map(|i| Arc::clone(connections[i].as_ref().unwrap().ticket().unwrap()));
        let under_way = backend.lasting().under_way();
        tickets[0].rest(Millis(20));
        tickets[2].rest(Millis(10));
        let calls = Arc::new(Calls::default());
        let waker = Waker::from(Arc::clone(&calls));
        for ticket in &tickets {
            assert!(ticket.poll_wanted(&Context::from_waker(&waker)).is_pending());
        }
        let mut waiting = wait(&backend, 0);
        assert!(is_called(&waiting));
        let full = backend.connect(&backend.endpoints()[0]).unwrap_err();
        waiting.make_room(full);
        assert_eq!(calls.0.load(Relaxed), 1, "its closer is called");
        assert!(!tickets[closed].take(), "it is promised to another");
        waiting.make_room(full);
        assert!(tickets[2 - closed].take(), "one for each who waits");
        assert!(!is_called(&waiting));
        connections[closed] = None;
        assert!(is_called(&waiting));
        assert!(backend.connect(&backend.endpoints()[0]).is_ok());
        drop((connections, waiting));
        assert_eq!((under_way.connections(), under_way.pending()), (0, 0));
    }
}

#[test]
fn a_connection_that_is_taken_is_not_closed_for_another() {
    let backend = limited(1, 1, 1, None);
    let connection = connect(&backend, 0).unwrap();
    let ticket = connection.ticket().unwrap();
    ticket.rest(Millis(1));
    assert!(ticket.take());
    let mut waiting = wait(&backend, 0);
    waiting.make_room(backend.connect(&backend.endpoints()[0]).unwrap_err());
    assert!(ticket.poll_wanted(&Context::from_waker(Waker::noop())).is_pending());
}

#[test]
fn of_many_threads_each_gets_its_connection_sometime() {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let backend = limited(3, 4, 2, None);
    std::thread::scope(|scope| {
        for seed in 0..6 {
            let backend = &backend;
            scope.spawn(move || {
                let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
                let cx = Context::from_waker(&waker);
                let mut random = fastrand::Rng::with_seed(seed);
                // As a pool does: what is not needed lies idle, until somebody wants its place.
                let mut idle: Vec<Connected> = Vec::new();
                for _ in 0..1_000 {
                    let place = random.usize(..3);
                    let endpoint = &backend.endpoints()[place];
                    let mut waiting = wait(backend, place);
                    let connected = loop {
                        idle.retain(|c| c.ticket().unwrap().poll_wanted(&cx).is_pending());
                        if waiting.poll_turn(&cx).is_pending() {
                            // Not for a time: who is not called here hangs, and so does the test.
                            std::thread::park();
                            continue;
                        }
                        match backend.connect(endpoint) {
                            Ok(connected) => break connected,
                            Err(full) => waiting.make_room(full),
                        }
                    };
                    drop(waiting);
                    assert!(backend.lasting().under_way().connections() <= 4);
                    if random.bool() {
                        let ticket = Arc::clone(connected.ticket().unwrap());
                        idle.push(connected);
                        ticket.rest(Millis(random.u64(..100)));
                    }
                }
            });
        }
    });
    let under_way = backend.lasting().under_way();
    assert_eq!((under_way.connections(), under_way.pending()), (0, 0));
}
