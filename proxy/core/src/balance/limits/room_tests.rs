//! Who waits for a connection gets one, in his turn, whoever comes and goes meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Wake, Waker};

use super::line::Line;
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
fn who_limits_connections_limits_those_who_wait_too() {
    let overflow_of = |backend: &Backend| {
        let mut waiting = Vec::new();
        let overflow = loop {
            match try_to_wait(backend, 0) {
                Ok(waits) => waiting.push(waits),
                Err(overflow) => break overflow,
            }
        };
        assert_eq!(waiting.len(), 1_024);
        overflow
    };
    let settings = |backend, endpoint| {
        let limits = Limits { backend, endpoint, ..Limits::default() };
        BackendSettings { limits, ..BackendSettings::default() }
    };
    let (limit, none) = (Amounts { connections: some(7), ..<_>::default() }, Amounts::default());
    for (of, settings) in
        [(Scope::Backend, settings(limit, none)), (Scope::Endpoint, settings(none, limit))]
    {
        let overflow = overflow_of(&backend(1, settings));
        assert_eq!((overflow.limit, overflow.of, overflow.most), (Limit::Pending, of, 1_024));
    }
}

#[test]
fn many_who_leave_together_do_not_look_at_each_other() {
    const WAITING: usize = 50_000;
    const ENDPOINTS: usize = 500;
    let backend = limited(ENDPOINTS as u64, 1_000, 1, u32::try_from(WAITING).ok());
    let under_way = backend.lasting().under_way();
    let busy: Vec<_> = (0..ENDPOINTS).map(|e| connect(&backend, e).unwrap()).collect();
    let waiting: Vec<_> = (0..WAITING).map(|i| wait(&backend, i % ENDPOINTS)).collect();
    assert!(waiting[..ENDPOINTS].iter().all(is_called));
    drop(waiting);
    assert!(under_way.waiting_is_empty());
    let looked = under_way.looked();
    assert!(looked <= 2 * WAITING, "{looked} looks");
    // Nor those who are served, one after the other.
    let waiting: Vec<_> = (0..WAITING).map(|i| wait(&backend, i % ENDPOINTS)).collect();
    drop(busy);
    for (i, waits) in waiting.into_iter().enumerate() {
        drop((connect(&backend, i % ENDPOINTS).unwrap(), waits));
    }
    let looked = under_way.looked() - looked;
    assert!(looked <= 4 * WAITING, "{looked} looks");
    assert!(under_way.waiting_is_empty());
}

#[test]
fn who_is_called_is_who_one_finds_that_looks_at_all() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let backend = limited(4, 9, 2, None);
        let endpoints = backend.endpoints();
        let mut line = Line::default();
        // Number, endpoint, called.
        let mut model: Vec<(u64, usize, bool)> = Vec::new();
        let is_full = |e: usize| endpoints[e].connections().get() >= 2;
        let cx = Context::from_waker(Waker::noop());
        for _ in 0..500 {
            let e = random.usize(..endpoints.len());
            let (id, connections) = (endpoints[e].id, endpoints[e].connections());
            let someone = random.choice(&model).map(|(number, ..)| *number);
            match (random.u8(..8), someone) {
                (0 | 1, _) => {
                    let called = model.iter().all(|(_, of, _)| *of != e);
                    model.push((line.enter(&endpoints[e], some(2)), e, called));
                }
                (2, Some(number)) => {
                    line.leave(number);
                    model.retain(|(n, ..)| *n != number);
                }
                (3, Some(number)) => {
                    line.call(number);
                    model.iter_mut().find(|(n, ..)| *n == number).unwrap().2 = true;
                }
                (4, Some(number)) => {
                    let called = &mut model.iter_mut().find(|(n, ..)| *n == number).unwrap().2;
                    assert_eq!(line.poll(number, &cx).is_ready(), std::mem::take(called));
                }
                (5, _) if !is_full(e) => connections.add(),
                (6, _) if connections.get() > 0 => {
                    connections.sub();
                    line.changed(id);
                }
                (7, _) => {
                    let next = random.bool();
                    if next && is_full(e) {
                        let own = model.iter_mut().find(|(_, of, called)| *of == e && !called);
                        own.into_iter().for_each(|(.., called)| *called = true);
                    }
                    let any = model.iter_mut().find(|(_, of, called)| !called && !is_full(*of));
                    any.into_iter().for_each(|(.., called)| *called = true);
                    drop(if next { line.call_next(id) } else { [line.call_any(), None] });
                }
                _ => {}
            }
            assert_eq!(
                line.called(),
                model.iter().filter(|(.., called)| *called).map(|(n, ..)| *n).collect::<Vec<_>>(),
                "seed {seed}"
            );
        }
        model.iter().for_each(|(number, ..)| line.leave(*number));
        assert!(line.is_empty());
    }
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
        assert!(waiting.make_room(full));
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
    assert!(!waiting.make_room(backend.connect(&backend.endpoints()[0]).unwrap_err()));
    assert!(ticket.poll_wanted(&Context::from_waker(Waker::noop())).is_pending());
}

#[test]
fn who_cannot_use_what_has_become_idle_passes_the_call_on() {
    let backend = limited(3, 2, 1, None);
    let idle = connect(&backend, 0).unwrap();
    let ticket = idle.ticket().unwrap();
    let (mut first, mut second) = (wait(&backend, 1), wait(&backend, 2));
    assert!(is_called(&first) && is_called(&second));
    ticket.rest(Millis(1));
    // His endpoint had room when he was called, and has none when he tries.
    let _busy = connect(&backend, 1).unwrap();
    assert!(is_called(&first) && !is_called(&second));
    first.make_room(backend.connect(&backend.endpoints()[1]).unwrap_err());
    assert!(is_called(&second));
    second.make_room(backend.connect(&backend.endpoints()[2]).unwrap_err());
    assert!(ticket.is_wanted());
}

#[test]
fn who_waits_for_an_idle_connection_is_called_though_another_needs_only_room() {
    let backend = limited(2, 3, 1, None);
    let idle = connect(&backend, 0).unwrap();
    let (other, own) = (wait(&backend, 1), wait(&backend, 0));
    assert!(is_called(&other) && is_called(&own));
    idle.ticket().unwrap().rest(Millis(1));
    assert!(is_called(&other) && is_called(&own));
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
                            Err(full) => {
                                waiting.make_room(full);
                            }
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
