//! The API server goes away, and comes back.

use std::time::{Duration, Instant};

use nodeway_apiserver::{ApiServer, Streaming};

use crate::follower::{World, eventually};
use crate::objects::{KINDS, one_of_each, service};

fn all_watched(server: &ApiServer) -> bool {
    KINDS.iter().all(|(_, resource)| server.watches(resource) == 1)
}

#[test]
fn an_outage_loses_nothing_and_leaves_no_second_watch() {
    let world = World::with(|server| server.put_all(&one_of_each()));
    world.until("the first state", |known| known.events > 0);
    world.until_server("watches", all_watched);
    assert_eq!(world.follower.health.age(), Duration::ZERO);
    for i in 2..5 {
        world.server.away();
        eventually("an age", || world.follower.health.age() > Duration::from_millis(300));
        assert_eq!(world.follower.known().objects.len(), KINDS.len(), "all stays in force");
        let ip = format!("10.96.0.{i}");
        world.server.put(&service("web", &ip));
        world.server.compact();
        world.server.back();
        world.until("news", |known| known.ip("web").as_deref() == Some(&ip));
        eventually("a current state", || world.follower.health.age() == Duration::ZERO);
        world.until_server("watches", all_watched);
    }
    assert!(world.follower.known().deleted.is_empty());
    for (_, resource) in KINDS {
        assert_eq!(world.server.most_watches(resource), 1, "{resource}");
    }
}

#[test]
fn the_first_kind_that_gets_through_wakes_the_others() {
    let world = World::with(|server| server.put_all(&one_of_each()));
    world.until("the first state", |known| known.events > 0);
    // A second of it goes by before it is sure that there is nothing more to come.
    soon_in_one_of_three(Duration::from_millis(1700), || {
        world.server.away();
        // By then each waits for seconds, and each for so long as chance would have it.
        eventually("an age", || world.follower.health.age() > Duration::from_secs(7));
        world.server.back();
        world.until_server("a watch", |server| KINDS.iter().any(|(_, r)| server.watches(r) > 0));
        let first = Instant::now();
        eventually("a current state", || world.follower.health.age() == Duration::ZERO);
        first.elapsed()
    });
}

#[test]
fn the_state_is_not_called_current_before_all_that_has_happened_is_known() {
    let world = World::with(|server| server.put_all(&one_of_each()));
    world.until("the first state", |known| known.events > 0);
    world.server.away();
    eventually("an age", || world.follower.health.age() > Duration::ZERO);
    for i in 1..=20 {
        world.server.put(&service("web", &format!("10.96.1.{i}")));
    }
    world.server.faults(|faults| {
        faults.slow_news = Duration::from_millis(100);
        // They would end it, and say the same.
        faults.bookmarks = Duration::from_secs(3600);
    });
    world.server.back();
    eventually("a current state", || {
        let current = world.follower.health.age() == Duration::ZERO;
        let last = || world.follower.known().ip("web").as_deref() == Some("10.96.1.20");
        assert!(!current || last(), "{:?}", world.follower.known().ip("web"));
        current
    });
}

#[test]
fn a_bookmark_makes_the_state_current_without_a_pause() {
    let world = World::with(|server| {
        server.put_all(&one_of_each());
        server.faults(|faults| faults.bookmarks = Duration::from_millis(50));
    });
    world.until("the first state", |known| known.events > 0);
    soon_in_one_of_three(Duration::from_millis(900), || {
        world.server.away();
        eventually("an age", || world.follower.health.age() > Duration::ZERO);
        world.server.back();
        world.until_server("watches", all_watched);
        let begun = Instant::now();
        eventually("a current state", || world.follower.health.age() == Duration::ZERO);
        begun.elapsed()
    });
}

/// What takes no longer than this where nobody waits; a machine that does much else may be slow now and then.
#[track_caller]
fn soon_in_one_of_three(limit: Duration, mut takes: impl FnMut() -> Duration) {
    let mut tries = Vec::new();
    while tries.len() < 3 {
        tries.push(takes());
        if tries.last().is_some_and(|took| *took < limit) {
            return;
        }
    }
    panic!("{tries:?}, and not once less than {limit:?}");
}

#[test]
fn a_server_that_asks_for_patience_is_given_it() {
    for code in [429, 503] {
        let began = Instant::now();
        let world = World::with(|server| {
            server.put_all(&one_of_each());
            server.faults(|f| (f.refuse, f.retry_after) = ((KINDS.len(), code), Some(1)));
        });
        world.until("the first state", |known| known.events > 0);
        assert!(began.elapsed() >= Duration::from_secs(1), "{code}");
        let asked: usize = world.server.all_requests().values().sum();
        assert_eq!(asked, 2 * KINDS.len(), "{code}: each asked once, and once again");
    }
}

#[test]
fn a_server_that_ends_watches_at_once_is_not_hammered() {
    let world = World::with(|server| {
        server.put_all(&one_of_each());
        server.faults(|faults| faults.streaming = Streaming::Off);
    });
    world.until_server("watches", all_watched);
    // Whether or not they say something before they end.
    for news in [false, true] {
        let asked = || world.server.requests("watch", "services");
        let (before, began) = (asked(), Instant::now());
        world.server.faults(|faults| faults.short_watches = true);
        world.server.cut();
        let (mut last, mut i) = (before, 0);
        while asked() < before + 5 {
            if news && asked() > last {
                (last, i) = (asked(), i + 1);
                world.server.put(&service("web", &format!("10.96.1.{i}")));
            }
            assert!(began.elapsed() < Duration::from_secs(120), "nobody asks");
            std::thread::sleep(Duration::from_millis(1));
        }
        // At the least 0.1, 0.2, 0.4 and 0.8 s lie between them.
        assert!(
            began.elapsed() > Duration::from_millis(1400),
            "news {news}: {:?}",
            began.elapsed()
        );
        world.server.faults(|faults| faults.short_watches = false);
        world.until_server("watches", all_watched);
        // A watch that lives makes up for those that did not.
        std::thread::sleep(Duration::from_millis(1100));
    }
    world.server.put(&service("api", "10.96.0.2"));
    world.until("news", |known| known.ip("api").is_some());
    assert_eq!(world.server.requests("list", "services"), 1);
}
