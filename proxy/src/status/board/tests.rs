use nodeway_core::model::{Change, Object, ObjectName, ParentRef, Route, Rules};
use nodeway_core::snapshot::{CompileOptions, Compiler, Enroll, Store};
use serde_json::json;

use super::*;

const KIND: Kind = Kind::HttpRoute;

/// A board, and an API server that keeps nothing but versions.
struct World {
    start: Instant,
    store: Store,
    compiler: Compiler,
    board: Board,
    versions: u64,
}

fn name(route: &str) -> ObjectName {
    ObjectName::new("shop", route)
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

impl World {
    fn new() -> Self {
        let start = Instant::now();
        let options = CompileOptions { enroll: Enroll::Label, node_name: None };
        let pace = Pace { burst: 10, per_second: 10.0 };
        let board = Board::new(Arc::new(Snapshot::empty()), pace, start);
        Self {
            start,
            store: Store::default(),
            compiler: Compiler::new(options),
            board,
            versions: 0,
        }
    }

    fn at(&self, at: f64) -> Instant {
        self.start + seconds(at)
    }

    /// The snapshot now judges the route by this generation: its Service does not exist.
    fn judge(&mut self, route: &str, generation: i64, at: f64) {
        self.store.apply(Change::Apply(Object::Route(Route {
            kind: KIND,
            name: name(route),
            generation,
            created: None,
            parents: vec![ParentRef::new(name("web"))],
            rules: Rules::Http(Vec::new()),
        })));
        self.publish(at);
    }

    fn publish(&mut self, at: f64) {
        if let Some(compiled) = self.compiler.compile(&mut self.store) {
            self.board.judge(compiled.snapshot, self.at(at));
        }
    }

    fn found(&mut self, route: &str, generation: i64, parents: &str) -> Found {
        self.versions += 1;
        let reference =
            json!([{"group": "", "kind": "Service", "namespace": "shop", "name": "web"}]);
        Found {
            name: name(route),
            api_version: "v1".into(),
            uid: route.into(),
            resource_version: self.versions.to_string().into(),
            generation,
            references: reference.to_string().into(),
            parents: parents.into(),
        }
    }

    /// The watch shows a route.
    fn show(&mut self, route: &str, generation: i64, parents: &str, at: f64) -> Found {
        let found = self.found(route, generation, parents);
        self.board.take(KIND, Told::There(Box::new(found.clone())), self.at(at));
        found
    }

    fn next(&mut self, at: f64) -> Option<Write> {
        self.board.next(self.at(at), "now")
    }

    fn done(&mut self, write: &Write, result: Result<String, Failure>, at: f64) -> Option<Refusal> {
        self.board.done(write, result, self.at(at), 1.0)
    }

    /// The write succeeds, and the watch shows it.
    fn succeed(&mut self, write: &Write, generation: i64, at: f64) {
        let body: Value = serde_json::from_str(&write.body).unwrap();
        let parents = body["status"]["parents"].to_string();
        let route = write.key.1.name.to_string();
        let found = self.found(&route, generation, &parents);
        self.done(write, Ok(found.resource_version.to_string()), at);
        self.board.take(KIND, Told::There(Box::new(found)), self.at(at));
    }

    /// When the next write is due, looked for up to `until`.
    fn due(&mut self, from: f64, until: f64) -> Option<(f64, Write)> {
        let mut now = self.at(from);
        while now <= self.at(until) {
            if let Some(write) = self.board.next(now, "now") {
                return Some(((now - self.start).as_secs_f64(), write));
            }
            now = self.board.wake(now)?.max(now + Duration::from_millis(1));
        }
        None
    }
}

#[test]
fn a_route_is_written_once_and_then_left_alone() {
    let mut world = World::new();
    world.judge("a", 1, 0.0);
    let found = world.show("a", 1, "", 0.0);
    let write = world.next(0.0).unwrap();
    assert_eq!(
        write.path,
        "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/a/status"
    );
    let body: Value = serde_json::from_str(&write.body).unwrap();
    assert_eq!(body["metadata"], json!({"uid": "a", "resourceVersion": &*found.resource_version}));
    assert_eq!(body["status"]["parents"][0]["conditions"][0]["reason"], "NoMatchingParent");
    assert!(world.next(0.0).is_none(), "while it is under way");
    world.succeed(&write, 1, 0.1);
    assert!(world.due(0.1, 3600.0).is_none());
}

#[test]
fn nothing_is_written_for_a_generation_that_was_not_judged() {
    let mut world = World::new();
    world.judge("a", 1, 0.0);
    world.show("a", 2, "", 0.0);
    assert!(world.due(0.0, 60.0).is_none(), "the snapshot is behind");
    world.judge("a", 3, 1.0);
    assert!(world.due(1.0, 60.0).is_none(), "the watch is behind");
    world.show("a", 3, "", 2.0);
    assert!(world.due(2.0, 60.0).is_some());
}

#[test]
fn a_route_that_the_snapshot_does_not_have_is_left_alone_unless_it_is_ours_no_more() {
    let mut world = World::new();
    let ours = format!(r#"[{{"controllerName":"{}"}}]"#, parents::CONTROLLER);
    world.show("a", 1, &ours, 0.0);
    assert!(world.due(0.0, 60.0).is_none());
    let mut found = world.found("a", 2, &ours);
    found.references = "".into();
    world.board.take(KIND, Told::There(Box::new(found)), world.at(1.0));
    let (_, write) = world.due(1.0, 60.0).unwrap();
    assert!(write.body.ends_with(r#""status":{"parents":[]}}"#), "{}", write.body);
}

#[test]
fn a_write_is_waited_for_before_the_next_one() {
    let mut world = World::new();
    world.judge("a", 1, 0.0);
    world.show("a", 1, "", 0.0);
    let write = world.next(0.0).unwrap();
    // Answered, but the watch is late, and shows first what was before.
    let written = world.found("a", 1, "[]");
    world.done(&write, Ok("99".to_owned()), 0.1);
    world.board.take(KIND, Told::There(Box::new(written)), world.at(0.2));
    assert!(world.due(0.2, 5.0).is_none(), "its own write is on its way");
    let (at, _) = world.due(5.0, 60.0).unwrap();
    assert!(at < 6.0, "but not for ever: {at}");
}

#[test]
fn who_undoes_what_we_write_is_answered_less_and_less_often() {
    let mut world = World::new();
    world.judge("a", 1, 0.0);
    world.show("a", 1, "", 0.0);
    let (mut at, mut gaps) = (0.0, Vec::new());
    for _ in 0..12 {
        let (due, write) = world.due(at, at + 1000.0).unwrap();
        gaps.push(due - at);
        world.succeed(&write, 1, due);
        // Somebody takes it out at once.
        world.show("a", 1, "[]", due);
        at = due;
    }
    assert!(gaps[0] < 0.1 && gaps[1] >= 2.0 && gaps[2] >= 4.0, "{gaps:?}");
    assert!(gaps[9..].iter().all(|gap| (300.0..301.0).contains(gap)), "{gaps:?}");
    // Something new to say is said at once.
    world.judge("a", 2, at + 1.0);
    world.show("a", 2, "[]", at + 1.0);
    assert!(world.due(at + 1.0, at + 2.0).is_some());
}

#[test]
fn one_that_fails_does_not_hold_up_the_others() {
    let mut world = World::new();
    for route in ["a", "b", "c"] {
        world.judge(route, 1, 0.0);
        world.show(route, 1, "", 0.0);
    }
    let mut tries = Vec::new();
    let (mut at, mut others) = (0.0, 0);
    while let Some((due, write)) = world.due(at, 1000.0).filter(|_| tries.len() < 10) {
        at = due;
        if &*write.key.1.name == "a" {
            tries.push(due);
            world.done(&write, Err(Failure::Other), due);
        } else {
            others += 1;
            world.succeed(&write, 1, due);
            assert!(due < 1.0, "{due}");
        }
    }
    assert_eq!(others, 2);
    let gaps: Vec<f64> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps[0] >= 1.0 && gaps[1] >= 2.0 && gaps[8] >= 119.0 && gaps[8] < 121.0, "{gaps:?}");
}

#[test]
fn a_server_that_has_too_much_to_do_is_left_alone_by_all() {
    let mut world = World::new();
    for route in ["a", "b", "c"] {
        world.judge(route, 1, 0.0);
        world.show(route, 1, "", 0.0);
    }
    let write = world.next(0.0).unwrap();
    world.done(&write, Err(Failure::Busy(seconds(7.0))), 0.1);
    let mut written = 0;
    let mut at = 0.1;
    while let Some((due, write)) = world.due(at, 60.0) {
        assert!(due >= 7.1, "{due}");
        (at, written) = (due, written + 1);
        world.succeed(&write, 1, due);
    }
    assert_eq!(written, 3);
}

#[test]
fn a_conflict_is_tried_again_soon() {
    let mut world = World::new();
    world.judge("a", 1, 0.0);
    world.show("a", 1, "", 0.0);
    let write = world.next(0.0).unwrap();
    world.done(&write, Err(Failure::Conflict), 0.1);
    let newer = world.show("a", 1, r#"[{"controllerName":"other"}]"#, 0.1);
    let (at, again) = world.due(0.1, 60.0).unwrap();
    assert!(at <= 0.31, "{at}");
    assert!(again.body.contains(&format!(r#""resourceVersion":"{}""#, newer.resource_version)));
    assert!(again.body.contains(r#"[{"controllerName":"other"},"#), "{}", again.body);
}

#[test]
fn what_is_forbidden_is_told_once_and_tried_one_at_a_time() {
    let mut world = World::new();
    for i in 0..5 {
        world.judge(&format!("r{i}"), 1, 0.0);
        world.show(&format!("r{i}"), 1, "", 0.0);
    }
    let mut writes = Vec::new();
    while let Some(write) = world.next(0.0) {
        writes.push(write);
    }
    assert_eq!(writes.len(), 5);
    let told: Vec<_> =
        writes.iter().map(|write| world.done(write, Err(Failure::Forbidden), 0.1)).collect();
    assert_eq!(told, [Some(Refusal::Route), Some(Refusal::Kind), None, None, None]);
    let (at, probe) = world.due(0.1, 1000.0).unwrap();
    assert!((300.0..310.0).contains(&at), "{at}");
    assert!(world.due(at, at + 200.0).is_none(), "the others wait for what comes of it");
    assert_eq!(world.done(&probe, Err(Failure::Forbidden), at + 0.1), None);
    let first = probe.key;
    let (later, probe) = world.due(at + 0.1, 1000.0).unwrap();
    assert!(later >= at + 300.0);
    assert_ne!(probe.key, first, "another one: this one may have its own reasons");
    world.succeed(&probe, 1, later);
    let mut rest = 0;
    while let Some((at, write)) = world.due(later, later + 10.0) {
        rest += 1;
        world.succeed(&write, 1, at);
    }
    assert_eq!(rest, 4, "and all are written once it is allowed");
}

#[test]
fn a_route_that_is_refused_for_its_own_sake_does_not_hold_up_the_others() {
    let mut world = World::new();
    let refused = ["a", "b"];
    for route in ["a", "b", "c", "d", "e"] {
        world.judge(route, 1, 0.0);
        world.show(route, 1, "", 0.0);
    }
    let (mut at, mut told, mut tries) = (0.0, Vec::new(), 0);
    // The others get something new to say every minute, and the kind is probed every five.
    for minute in 0..60 {
        for route in ["c", "d", "e"] {
            world.judge(route, minute + 2, at);
            world.show(route, minute + 2, "", at);
        }
        let until = f64::from(i16::try_from(minute + 1).unwrap()) * 60.0;
        let mut written = 0;
        while let Some((due, write)) = world.due(at, until) {
            at = due;
            if refused.contains(&&*write.key.1.name) {
                tries += 1;
                told.extend(world.done(&write, Err(Failure::Forbidden), due));
            } else {
                written += 1;
                world.succeed(&write, minute + 2, due);
            }
        }
        // Two that are refused one after the other look like a lacking right, at first.
        assert!(written >= 3 || minute < 5, "minute {minute}: {written}");
        at = until;
    }
    assert_eq!(told, [Refusal::Route, Refusal::Kind], "once each");
    assert!((20..40).contains(&tries), "{tries}: each tried again and again, but seldom");
}

#[test]
fn the_only_route_of_a_kind_stands_for_it() {
    let mut world = World::new();
    world.judge("a", 1, 0.0);
    world.show("a", 1, "", 0.0);
    let write = world.next(0.0).unwrap();
    assert_eq!(world.done(&write, Err(Failure::Forbidden), 0.1), Some(Refusal::Kind));
    let (at, write) = world.due(0.1, 1000.0).unwrap();
    assert!(at >= 300.0, "{at}");
    world.succeed(&write, 1, at);
}

#[test]
fn each_route_has_its_turn_at_asking_whether_its_kind_may_be_written() {
    let mut world = World::new();
    for i in 0..5 {
        world.judge(&format!("r{i}"), 1, 0.0);
        world.show(&format!("r{i}"), 1, "", 0.0);
    }
    let (mut at, mut asked) = (0.0, Vec::new());
    while asked.len() < 12 {
        let (due, write) = world.due(at, at + 1000.0).unwrap();
        at = due;
        asked.push(write.key.1.name.to_string());
        world.done(&write, Err(Failure::Forbidden), due);
    }
    for turn in asked[2..].chunks_exact(5) {
        let all: BTreeSet<_> = turn.iter().collect();
        assert_eq!(all.len(), 5, "{asked:?}");
    }
}

#[test]
fn thousands_are_written_at_a_pace() {
    let mut world = World::new();
    for i in 0..300 {
        let route = format!("r{i}");
        world.store.apply(Change::Apply(Object::Route(Route {
            kind: KIND,
            name: name(&route),
            generation: 1,
            created: None,
            parents: vec![ParentRef::new(name("web"))],
            rules: Rules::Http(Vec::new()),
        })));
    }
    world.publish(0.0);
    for i in 0..300 {
        world.show(&format!("r{i}"), 1, "", 0.0);
    }
    let mut times = Vec::new();
    let mut at = 0.0;
    while let Some((due, write)) = world.due(at, 1000.0) {
        times.push(due);
        world.succeed(&write, 1, due);
        at = due;
    }
    assert_eq!(times.len(), 300);
    assert!((29.0..32.0).contains(&times[299]), "{}", times[299]);
    let most = times.iter().map(|t| times.iter().filter(|o| (*t..*t + 1.0).contains(*o)).count());
    assert!(most.max().unwrap() <= 21);
}

#[test]
fn what_a_listing_does_not_show_is_forgotten() {
    let mut world = World::new();
    world.judge("a", 1, 0.0);
    world.judge("b", 1, 0.0);
    let (a, _) = (world.show("a", 1, "", 0.0), world.show("b", 1, "", 0.0));
    let now = world.at(0.0);
    for told in [Told::Listing, Told::There(Box::new(a)), Told::Listed] {
        world.board.take(KIND, told, now);
    }
    let write = world.next(0.0).unwrap();
    assert_eq!(&*write.key.1.name, "a");
    assert!(world.next(0.0).is_none() && world.board.routes.len() == 1);
    world.board.take(KIND, Told::Gone(name("a")), now);
    world.done(&write, Err(Failure::Other), 0.1);
    assert!(world.board.routes.is_empty() && world.board.queue.is_empty());
}
