//! Plans on a made clock: endpoints answer as the tests say.

use std::num::NonZeroU32;
use std::time::Duration;

use nodeway_core::balance::Lasting;
use nodeway_core::model::{AppProtocol, BackendSettings, Probe};

use super::super::places::tests::Pod;
use super::*;

/// A cluster in which time passes by events alone.
struct World {
    plan: Plan<Pod>,
    now: u64,
    random: fastrand::Rng,
    backend: Arc<Backend>,
    nodes: usize,
    /// When each check began: the endpoint's number and the client's.
    begun: Vec<(u64, u64, u64)>,
    events: Vec<(u64, Change)>,
    cut_off: Vec<u64>,
}

fn check(interval_millis: u64) -> HealthCheck {
    let interval = Duration::from_millis(interval_millis);
    HealthCheck { interval, jitter: 0, ..HealthCheck::of(Probe::Tcp) }
}

fn endpoints(ids: impl IntoIterator<Item = u64>) -> Vec<Arc<Endpoint>> {
    let one = |id: u64| {
        let address = ([10, 0, 0, u8::try_from(id % 250).unwrap()], 8080).into();
        Arc::new(Endpoint::new(EndpointId(id), address, None))
    };
    ids.into_iter().map(one).collect()
}

fn backend(endpoints: Vec<Arc<Endpoint>>, health_check: Option<HealthCheck>) -> Arc<Backend> {
    named("web", endpoints, health_check)
}

fn named(
    name: &str,
    endpoints: Vec<Arc<Endpoint>>,
    health_check: Option<HealthCheck>,
) -> Arc<Backend> {
    let settings = BackendSettings { health_check, ..BackendSettings::default() };
    let name = ObjectName::new("shop", name);
    let backend = Backend::new(Lasting::new(1), (name, 80), AppProtocol::Http, None, endpoints);
    Arc::new(backend.with_settings(settings.into()))
}

fn ill() -> Outcome {
    Outcome::Ill("503".to_owned())
}

fn unreached() -> Outcome {
    Outcome::Unreached("refused".to_owned())
}

// === impl World ===

impl World {
    fn new(ids: impl IntoIterator<Item = u64>, interval_millis: u64) -> Self {
        Self {
            plan: Plan::new(Millis(0)),
            now: 0,
            random: fastrand::Rng::with_seed(7),
            backend: backend(endpoints(ids), Some(check(interval_millis))),
            nodes: 1,
            begun: Vec::new(),
            events: Vec::new(),
            cut_off: Vec::new(),
        }
    }

    fn used(&mut self, by: &Pod) {
        self.uses(&Arc::clone(&self.backend), by);
    }

    fn uses(&mut self, backend: &Arc<Backend>, by: &Pod) {
        let port = (backend.service.clone(), backend.port);
        let now = Millis(self.now);
        self.plan.used(port, (Some(backend), false), (by.clone(), 1), now, &mut self.random);
    }

    /// All checks that begin until then, of endpoints that say nothing.
    fn silent(&mut self, until: u64) -> Vec<Task<Pod>> {
        let mut running = Vec::new();
        while self.now < until {
            while let Some(task) = self.plan.begin(Millis(self.now)) {
                running.push(task);
            }
            self.now += 10;
        }
        running
    }

    fn refresh(&mut self) {
        let found = Some(Arc::clone(&self.backend));
        let now = Millis(self.now);
        self.plan.refresh(self.nodes, |_, _| found.clone(), now, &mut self.random);
    }

    /// Until then, checks end at once, and as `answer` says of the endpoint and the client.
    fn run(&mut self, until: u64, answer: impl Fn(u64, u64) -> Outcome) {
        loop {
            let now = Millis(self.now);
            while let Some(task) = self.plan.begin(now) {
                let mut next = Some(task);
                while let Some(task) = next {
                    let (endpoint, from) = (task.endpoint.id.0, task.place.0);
                    self.begun.push((self.now, endpoint, from));
                    let outcome = answer(endpoint, from);
                    let ended = self.plan.finished(task, &outcome, now, &mut self.random);
                    self.events.extend(ended.event.map(|event| (endpoint, event.change)));
                    self.cut_off.extend(ended.cut_off);
                    next = ended.again;
                }
            }
            match self.plan.wakes() {
                Some(at) if at.0 <= until => self.now = at.0.max(self.now + 1),
                _ => break,
            }
        }
        self.now = until;
    }

    fn times(&self, of: u64) -> Vec<u64> {
        self.begun.iter().filter(|(_, id, _)| *id == of).map(|(at, ..)| *at).collect()
    }

    fn ill(&self, id: u64) -> bool {
        self.backend.endpoints().iter().any(|e| e.id.0 == id && e.ill())
    }
}

#[test]
fn endpoints_are_asked_soon_after_the_first_use_and_then_each_interval() {
    let mut world = World::new(1..=3, 10_000);
    world.run(5_000, |_, _| Outcome::Well);
    assert!(world.begun.is_empty(), "nobody uses them");
    world.used(&Pod::new(1));
    world.run(5_000 + 60_000, |_, _| Outcome::Well);
    assert!(world.begun.iter().any(|(at, ..)| *at == 5_000), "one at once");
    for id in 1..=3 {
        let times = world.times(id);
        assert!(times[0] < 6_000, "{times:?}");
        assert!(times[1] <= times[0] + 10_000, "{times:?}");
        for pair in times[1..].windows(2) {
            assert_eq!(pair[1] - pair[0], 10_000, "{times:?}");
        }
        assert!(times.len() >= 6, "{times:?}");
    }
    assert!(world.events.is_empty());
}

#[test]
fn a_new_endpoint_that_fails_is_out_long_before_its_interval_is_over() {
    let mut world = World::new(1..=2, 10_000);
    world.used(&Pod::new(1));
    world.run(3_000, |id, _| if id == 1 { ill() } else { Outcome::Well });
    assert_eq!(world.events, [(1, Change::Ill { failures: 3 })]);
    assert!(world.ill(1) && !world.ill(2));
}

#[test]
fn one_that_was_well_is_out_after_its_threshold_and_back_after_the_other() {
    let mut world = World::new([1], 1_000);
    let pod = Pod::new(1);
    world.used(&pod);
    world.run(10_000, |_, _| Outcome::Well);
    world.begun.clear();
    world.run(13_000, |_, _| ill());
    assert_eq!(world.events, [(1, Change::Ill { failures: 3 })]);
    assert_eq!(world.begun.len(), 3, "unhealthy x interval");
    world.begun.clear();
    world.run(15_000, |_, _| Outcome::Well);
    assert_eq!(world.events[1..], [(1, Change::Well { successes: 2 })]);
    assert_eq!(world.begun.len(), 2);
}

#[test]
fn nobody_is_asked_when_nobody_uses_them_and_what_was_said_is_forgotten() {
    let mut world = World::new(1..=2, 1_000);
    world.used(&Pod::new(1));
    world.run(CLIENT_FOR_MILLIS - 1, |id, _| if id == 1 { ill() } else { Outcome::Well });
    assert!(world.ill(1));
    world.refresh();
    assert!(!world.plan.is_idle());
    world.now = CLIENT_FOR_MILLIS;
    world.refresh();
    assert!(world.plan.is_idle());
    assert!(!world.ill(1), "without checks it counts as well");
    world.begun.clear();
    world.run(CLIENT_FOR_MILLIS + 100_000, |_, _| Outcome::Well);
    assert!(world.begun.is_empty(), "{:?}", world.begun);
}

#[test]
fn a_pod_that_cannot_reach_an_endpoint_does_not_make_it_ill_for_the_others() {
    let mut world = World::new(1..=4, 1_000);
    let (denied, good) = (Pod::new(1), Pod::new(2));
    world.used(&denied);
    world.used(&good);
    world.run(50_000, |_, from| if from == 1 { unreached() } else { Outcome::Well });
    assert!(world.events.is_empty(), "{:?}", world.events);
    assert_eq!(world.cut_off, [1], "told once");
    let tried = world.begun.iter().filter(|(.., from)| *from == 1).count();
    assert!(tried <= 4, "it was asked from there {tried} times");
    // When it is the only one left, what it does not reach is out for it.
    good.1.set(false);
    world.run(60_000, |_, _| unreached());
    assert_eq!(world.events.len(), 4);
}

#[test]
fn an_endpoint_is_out_only_if_nobody_reaches_it() {
    let mut world = World::new([1], 1_000);
    world.used(&Pod::new(1));
    world.used(&Pod::new(2));
    world.run(10_000, |_, _| unreached());
    assert_eq!(world.events, [(1, Change::Ill { failures: 3 })]);
    for pair in world.begun[..6].chunks(2) {
        let [(at, _, from), (then, _, other)] = [pair[0], pair[1]];
        assert!(at == then && from != other, "each failure has a second opinion: {pair:?}");
    }
    // It is known to be out: one opinion will do.
    let after = world.begun[6..].len();
    assert!(after <= 10, "{after}");
}

#[test]
fn pods_that_never_reach_an_endpoint_do_not_keep_it_out() {
    for denied in [1, 10] {
        let mut world = World::new([1], 1_000);
        for key in 1..=denied {
            world.used(&Pod::new(key));
        }
        world.run(10_000, |_, _| unreached());
        assert!(world.ill(1), "nobody knows better");
        world.used(&Pod::new(99));
        world.run(40_000, |_, from| if from == 99 { Outcome::Well } else { unreached() });
        assert_eq!(world.events[1..], [(1, Change::Well { successes: 2 })], "{denied}");
        assert!(!world.ill(1));
    }
}

#[test]
fn second_opinions_count_as_checks_of_the_node() {
    let mut world = World::new(1..=1000, 1_000);
    world.used(&Pod::new(1));
    world.used(&Pod::new(2));
    world.run(10_000, |_, _| unreached());
    let begun = world.begun.len();
    assert!((2_000..=2_600).contains(&begun), "{begun}");
}

#[test]
fn what_an_endpoint_says_itself_needs_no_second_opinion() {
    let mut world = World::new([1], 1_000);
    world.used(&Pod::new(1));
    world.used(&Pod::new(2));
    world.run(2_500, |_, _| ill());
    assert_eq!(world.events.len(), 1);
    let mut times = world.times(1);
    let checks = times.len();
    times.dedup();
    assert_eq!(times.len(), checks, "two at once");
}

#[test]
fn what_could_not_be_asked_is_no_verdict() {
    let mut world = World::new([1], 1_000);
    world.used(&Pod::new(1));
    world.run(20_000, |_, _| Outcome::Unasked("no descriptors".to_owned()));
    assert!(world.begun.len() > 10 && world.events.is_empty());
    world.run(40_000, |_, _| Outcome::Unfit("unimplemented".to_owned()));
    assert!(world.events.is_empty());
}

#[test]
fn endpoints_that_come_are_asked_soon_and_those_that_go_no_more() {
    let mut world = World::new(1..=2, 10_000);
    let pod = Pod::new(1);
    world.used(&pod);
    world.run(20_000, |_, _| Outcome::Well);
    let mut now_there = world.backend.endpoints()[1..].to_vec();
    now_there.extend(endpoints([9]));
    world.backend = backend(now_there, Some(check(10_000)));
    world.begun.clear();
    world.used(&pod);
    world.refresh();
    world.run(50_000, |_, _| Outcome::Well);
    assert!(world.times(1).is_empty());
    assert!(world.times(2).len() >= 3);
    assert!(world.times(9)[0] <= 21_000 && world.times(9).len() >= 3, "{:?}", world.times(9));
}

#[test]
fn a_client_that_comes_when_all_others_have_just_gone_has_its_endpoints_asked() {
    let mut world = World::new(1..=2, 1_000);
    let (first, second) = (Pod::new(1), Pod::new(2));
    world.used(&first);
    world.run(5_000, |_, _| Outcome::Well);
    first.1.set(false);
    world.begun.clear();
    world.run(8_000, |_, _| Outcome::Well);
    assert!(world.begun.is_empty(), "from nowhere");
    world.used(&second);
    world.run(12_000, |_, _| Outcome::Well);
    assert!(world.times(1).len() >= 3 && world.times(2).len() >= 3, "{:?}", world.begun);
}

#[test]
fn endpoints_that_leave_while_they_wait_keep_nobody_waiting() {
    let mut world = World::new(1..=200, 1_000);
    world.used(&Pod::new(1));
    let running = world.silent(3_000);
    // Those that wait leave, but for one.
    let begun: Vec<u64> = running.iter().map(|task| task.endpoint.id.0).collect();
    let last = (1..=200).rev().find(|id| !begun.contains(id)).unwrap();
    let stays = |e: &&Arc<Endpoint>| begun.contains(&e.id.0) || e.id.0 == last;
    let left: Vec<_> = world.backend.endpoints().iter().filter(stays).cloned().collect();
    world.backend = backend(left, Some(check(1_000)));
    world.refresh();
    for task in running {
        world.plan.finished(task, &Outcome::Well, Millis(3_000), &mut world.random);
    }
    world.run(6_000, |_, _| Outcome::Well);
    assert!(!world.times(last).is_empty());
}

#[test]
fn a_changed_check_begins_anew_and_without_one_nobody_is_asked() {
    let mut world = World::new([1], 300_000);
    let pod = Pod::new(1);
    world.used(&pod);
    world.run(20_000, |_, _| Outcome::Well);
    let same = world.backend.endpoints().to_vec();
    world.backend = backend(same.clone(), Some(check(1_000)));
    world.refresh();
    world.begun.clear();
    world.run(30_000, |_, _| ill());
    assert!(world.begun.len() >= 9, "{:?}", world.begun);
    assert!(world.ill(1));
    world.backend = backend(same, None);
    world.refresh();
    world.begun.clear();
    world.run(40_000, |_, _| Outcome::Well);
    assert!(world.begun.is_empty() && world.plan.is_idle());
}

#[test]
fn a_thousand_endpoints_of_one_second_stay_within_what_a_node_may_do() {
    let mut world = World::new(1..=1000, 1_000);
    world.used(&Pod::new(1));
    world.run(10_000, |_, _| Outcome::Well);
    let begun = world.begun.len();
    assert!((2_000..=2_600).contains(&begun), "{begun}");
    for id in 1..=1000 {
        let times = world.times(id).len();
        assert!((1..=5).contains(&times), "{id}: {times}: each has its turn");
    }
}

#[test]
fn silent_endpoints_do_not_use_up_the_checks_of_others() {
    let mut world = World::new(1..=500, 1_000);
    world.used(&Pod::new(1));
    let mut running = world.silent(5_000);
    assert_eq!(running.len(), MOST_OF_BACKEND);
    let other = named("other", endpoints([900]), Some(check(1_000)));
    world.uses(&other, &Pod::new(1));
    let task = world.plan.begin(Millis(5_000)).unwrap();
    assert_eq!(task.endpoint.id.0, 900);
    // What has waited begins as others end, and is late.
    let first = running.pop().unwrap();
    world.plan.finished(first, &Outcome::Well, Millis(5_000), &mut world.random);
    let next = world.plan.begin(Millis(5_000)).unwrap();
    assert!(next.late);
}

#[test]
fn silent_services_do_not_stop_the_checks_of_others() {
    for timeout in [5, 300] {
        let silent = HealthCheck { timeout: Duration::from_secs(timeout), ..check(1_000) };
        let mut world = World::new([], 1_000);
        for service in 1..=4_u64 {
            let ids = service * 1_000..service * 1_000 + 100;
            let name = format!("silent-{service}");
            world.uses(&named(&name, endpoints(ids), Some(silent.clone())), &Pod::new(1));
        }
        let running = world.silent(4_000);
        assert!(running.len() > MOST_AT_ONCE / 4, "{}", running.len());
        let like_them = named("like-them", endpoints([2]), Some(silent));
        for other in [named("other", endpoints([1]), Some(check(1_000))), like_them] {
            world.uses(&other, &Pod::new(1));
            let task = world.plan.begin(Millis(world.now)).expect("one begins");
            assert_eq!(task.backend.service, other.service);
        }
    }
}

#[test]
fn checks_that_take_long_leave_room_for_the_others_however_many_they_are() {
    let long = HealthCheck { timeout: Duration::from_secs(300), ..check(1_000) };
    let mut world = World::new([], 1_000);
    for service in 1..=200_u64 {
        let ids = service * 1_000..service * 1_000 + 4;
        let name = format!("long-{service}");
        world.uses(&named(&name, endpoints(ids), Some(long.clone())), &Pod::new(1));
    }
    let mut running = world.silent(10_000);
    assert_eq!(running.len(), MOST_LONG);
    let other = named("other", endpoints([1]), Some(check(1_000)));
    world.uses(&other, &Pod::new(1));
    let task = world.plan.begin(Millis(world.now)).expect("it begins");
    assert_eq!(task.backend.service, other.service);
    // One ends, and another one has its turn.
    let first = running.remove(0);
    let ended = first.endpoint.id;
    world.plan.finished(first, &Outcome::Well, Millis(world.now), &mut world.random);
    let next = world.plan.begin(Millis(world.now)).expect("one has waited");
    assert!(next.late && next.endpoint.id != ended);
    assert!(world.plan.begin(Millis(world.now)).is_none());
}

#[test]
fn what_was_asked_by_a_former_policy_is_no_verdict_by_the_new_one() {
    let once = HealthCheck { unhealthy: NonZeroU32::MIN, ..check(1_000) };
    let mut world = World::new([1], 1_000);
    world.used(&Pod::new(1));
    let former = world.silent(1_000);
    let same = world.backend.endpoints().to_vec();
    world.backend = backend(same, Some(once));
    world.refresh();
    for task in former {
        let now = Millis(world.now);
        let ended = world.plan.finished(task, &unreached(), now, &mut world.random);
        assert!(ended.event.is_none() && ended.again.is_none());
    }
    assert!(!world.ill(1));
    world.run(3_000, |_, _| ill());
    assert_eq!(world.events, [(1, Change::Ill { failures: 1 })]);
}

#[test]
fn whatever_changes_an_endpoint_has_one_check_at_a_time() {
    let many = 1 + MOST_OF_BACKEND as u64;
    for count in [1, many] {
        let mut world = World::new(1..=count, 1_000);
        world.used(&Pod::new(1));
        // The last one of many waits.
        let former = world.silent(2_000);
        let same = world.backend.endpoints().to_vec();
        world.backend = backend(same, Some(HealthCheck { jitter: 1, ..check(1_000) }));
        world.refresh();
        let mut running = world.silent(4_000);
        for task in former {
            let now = Millis(world.now);
            world.plan.finished(task, &Outcome::Well, now, &mut world.random);
            running.extend(world.silent(world.now + 10));
        }
        while running.len() > 1 && world.now < 20_000 {
            let ended = running.pop().unwrap();
            let now = Millis(world.now);
            world.plan.finished(ended, &Outcome::Well, now, &mut world.random);
            running.extend(world.silent(world.now + 100));
            let ids: HashSet<_> = running.iter().map(|task| task.endpoint.id).collect();
            assert_eq!(ids.len(), running.len(), "one is asked twice at once");
        }
        running.extend(world.silent(30_000));
        let ids: HashSet<_> = running.iter().map(|task| task.endpoint.id).collect();
        assert_eq!(ids.len(), running.len(), "one is asked twice at once");
    }
}

#[test]
fn what_checks_said_of_an_endpoint_that_leaves_is_forgotten() {
    let mut world = World::new(1..=2, 1_000);
    world.used(&Pod::new(1));
    world.run(5_000, |id, _| if id == 1 { ill() } else { Outcome::Well });
    assert!(world.ill(1));
    let both = world.backend.endpoints().to_vec();
    world.backend = backend(vec![Arc::clone(&both[1])], Some(check(1_000)));
    world.refresh();
    world.backend = backend(both, Some(check(1_000)));
    assert!(!world.ill(1), "it is ready again, and nobody has asked it since");
}

#[test]
fn in_a_big_cluster_checks_are_rare_unless_requests_are_many() {
    let mut world = World::new([1], 10_000);
    world.nodes = 5_000;
    let pod = Pod::new(1);
    world.used(&pod);
    world.refresh();
    for _ in 0..60 {
        world.run(world.now + 5_000, |_, _| Outcome::Well);
        world.used(&pod);
        world.refresh();
    }
    let begun = world.begun.len();
    assert!((5..=8).contains(&begun), "{begun} in 300 s, of one in 50 s");
}

#[test]
fn endpoints_behind_external_addresses_are_asked_while_somebody_uses_these() {
    let mut world = World::new([1], 1_000);
    let here = Arc::clone(&world.backend);
    let away = backend(endpoints([2, 3]), None);
    let away = here.endpoints().iter().chain(away.endpoints()).cloned().collect();
    let all = backend(away, Some(check(1_000)));
    let pod = Pod::new(1);
    let asked = |world: &mut World, until| {
        let from = world.begun.len();
        world.run(until, |_, _| Outcome::Well);
        let asked: HashSet<u64> = world.begun[from..].iter().map(|(_, id, _)| *id).collect();
        asked.len()
    };
    let refresh = |world: &mut World| {
        let now = Millis(world.now);
        let find = |_: &Port, external| Some(Arc::clone(if external { &all } else { &here }));
        world.plan.refresh(world.nodes, find, now, &mut world.random);
    };
    world.used(&pod);
    assert_eq!(asked(&mut world, 5_000), 1, "those of this node are all that are in use");
    let port = (here.service.clone(), here.port);
    let now = Millis(world.now);
    world.plan.used(port, (Some(&all), true), (pod.clone(), 1), now, &mut world.random);
    assert_eq!(asked(&mut world, 10_000), 3);
    refresh(&mut world);
    world.used(&pod);
    assert_eq!(asked(&mut world, 60_000), 3);
    world.used(&pod);
    // The last use of an external address was a minute ago.
    world.run(66_000, |_, _| Outcome::Well);
    refresh(&mut world);
    assert_eq!(asked(&mut world, 80_000), 1);
    assert!(all.endpoints().iter().all(|endpoint| !endpoint.ill()));
}
