//! Choosing a rule allocates nothing, nor does picking an endpoint.
//!
//! A test binary of its own, for it counts what its allocator is asked for.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

#[path = "../benches/fleets/mod.rs"]
mod fleets;
#[path = "../benches/shapes/mod.rs"]
#[allow(missing_docs, dead_code, reason = "what the bench needs besides")]
mod shapes;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use nodeway_core::route::normalised;

/// Counts by thread: tests run side by side.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: all is left to the system's allocator; a counter without a destructor is added to before.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(old, layout) }
    }
}

fn allocations(of: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    of();
    ALLOCATIONS.get() - before
}

#[test]
fn choosing_among_many_rules_allocates_nothing() {
    for rules in [10, 200] {
        for case in shapes::cases(rules) {
            // What a pattern's automaton remembers it remembers from the first time on.
            assert_eq!(case.route(), Some(case.wanted), "{}, {rules}", case.name);
            let allocated = allocations(|| {
                for _ in 0..100 {
                    std::hint::black_box(case.route());
                }
            });
            assert_eq!(allocated, 0, "{}, {rules}", case.name);
        }
    }
}

#[test]
fn a_path_that_is_normal_is_looked_at_without_allocating() {
    for path in ["/api/v1/items/index.html", "/.well-known/x", "/caf%C3%A9/a%2Fb"] {
        assert_eq!(allocations(|| assert_eq!(normalised(path), path)), 0, "{path}");
    }
    assert_ne!(allocations(|| assert_eq!(normalised("/a/../b"), "/b")), 0, "the count counts");
}

#[test]
fn picking_one_of_many_endpoints_allocates_nothing() {
    for algorithm in fleets::ALGORITHMS {
        for endpoints in [10, 1_000] {
            let mut fleet = fleets::Fleet::new(algorithm, endpoints);
            // The first makes the roster.
            fleet.pick();
            let allocated = allocations(|| {
                for _ in 0..1_000 {
                    std::hint::black_box(fleet.pick());
                }
            });
            assert_eq!(allocated, 0, "{algorithm:?}, {endpoints}");
        }
    }
}
