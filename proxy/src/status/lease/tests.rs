use super::*;

/// A server that keeps one Lease, and two candidates whose clocks are one that is made.
struct World {
    start: Instant,
    lease: Option<Value>,
    version: u64,
}

impl World {
    fn new() -> Self {
        Self { start: Instant::now(), lease: None, version: 0 }
    }

    fn at(&self, seconds: f64) -> Instant {
        self.start + Duration::from_secs_f64(seconds)
    }

    /// What the server makes of a bid; none for a conflict.
    fn answer(&mut self, bid: Bid) -> Option<Value> {
        let lease = match (bid, &self.lease) {
            (Bid::Create(spec), None) => json!({"metadata": {}, "spec": spec}),
            (Bid::Update(lease), Some(now))
                if lease["metadata"]["resourceVersion"] == now["metadata"]["resourceVersion"] =>
            {
                lease
            }
            _ => return None,
        };
        self.version += 1;
        let mut lease = lease;
        lease["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.lease = Some(lease.clone());
        Some(lease)
    }

    /// A look and a bid, if there is one to make; whether it leads.
    fn turn(&mut self, candidate: &mut Election, seconds: f64) -> bool {
        let now = self.at(seconds);
        candidate.see(self.lease.clone(), now);
        if let Some(bid) = candidate.bid(now, &format!("{seconds}"))
            && let Some(lease) = self.answer(bid)
        {
            candidate.won(lease, now);
        }
        candidate.leads(now).is_some()
    }
}

fn candidate(identity: &str) -> Election {
    Election::new(identity.to_owned(), Timing::default())
}

#[test]
fn the_first_leads_and_the_second_waits_as_long_as_it_renews() {
    let (mut world, mut a, mut b) = (World::new(), candidate("a"), candidate("b"));
    assert!(world.turn(&mut a, 0.0));
    for i in 0..100 {
        let seconds = f64::from(i) * 2.0;
        assert!(world.turn(&mut a, seconds), "{i}");
        assert!(!world.turn(&mut b, seconds + 1.0), "{i}");
    }
    let spec = &world.lease.as_ref().unwrap()["spec"];
    assert_eq!(spec["leaseTransitions"], 0);
    assert_eq!((&spec["acquireTime"], &spec["renewTime"]), (&json!("0"), &json!("198")));
}

#[test]
fn a_dead_leader_is_followed_after_its_lease_has_been_the_same_for_its_whole_length() {
    let (mut world, mut a, mut b) = (World::new(), candidate("a"), candidate("b"));
    assert!(world.turn(&mut a, 0.0));
    // Seen late: what counts is since when it was seen.
    assert!(!world.turn(&mut b, 100.0));
    assert!(!world.turn(&mut b, 114.9));
    assert!(world.turn(&mut b, 115.1));
    assert_eq!(world.lease.as_ref().unwrap()["spec"]["leaseTransitions"], 1);
    assert!(!world.turn(&mut a, 116.0), "and the first one has to wait");
}

#[test]
fn a_leader_that_cannot_renew_stops_before_anybody_else_may_begin() {
    let (mut world, mut a, mut b) = (World::new(), candidate("a"), candidate("b"));
    assert!(world.turn(&mut a, 0.0));
    // At the earliest that another could have seen it.
    assert!(!world.turn(&mut b, 0.0));
    let first = (0..3000).map(|i| f64::from(i) / 100.0).find(|s| world.turn(&mut b, *s)).unwrap();
    let last = (0..3000).map(|i| f64::from(i) / 100.0).rfind(|s| a.leads(world.at(*s)).is_some());
    assert!(last.unwrap() < 10.0, "{last:?}");
    assert!((15.0..15.1).contains(&first), "{first}");
}

#[test]
fn of_two_that_bid_at_once_one_wins() {
    let (mut world, mut a, mut b) = (World::new(), candidate("a"), candidate("b"));
    let now = world.at(0.0);
    let (first, second) = (a.bid(now, "").unwrap(), b.bid(now, "").unwrap());
    a.won(world.answer(first).unwrap(), now);
    assert_eq!(world.answer(second), None);
    assert!(!world.turn(&mut b, 1.0) && a.leads(world.at(1.0)).is_some());
    // The same for one that has run out.
    b.see(world.lease.clone(), world.at(20.0));
    let late = b.bid(world.at(20.0), "").unwrap();
    assert!(world.turn(&mut a, 20.0));
    assert_eq!(world.answer(late), None);
}

#[test]
fn a_released_lease_is_free_at_once() {
    let (mut world, mut a, mut b) = (World::new(), candidate("a"), candidate("b"));
    assert!(world.turn(&mut a, 0.0) && !world.turn(&mut b, 0.5));
    let released = a.release(world.at(1.0), "1").unwrap();
    assert!(world.answer(Bid::Update(released)).is_some());
    assert_eq!(a.leads(world.at(1.0)), None);
    assert!(a.release(world.at(1.0), "1").is_none(), "once");
    assert!(world.turn(&mut b, 1.1));
    assert!(b.release(world.at(60.0), "60").is_none(), "what has run out may be another's");
}

#[test]
fn whose_lease_another_has_taken_leads_no_more() {
    let (mut world, mut a) = (World::new(), candidate("a"));
    assert!(world.turn(&mut a, 0.0));
    world.lease.as_mut().unwrap()["spec"]["holderIdentity"] = json!("somebody");
    assert!(!world.turn(&mut a, 1.0));
}

#[test]
fn what_others_have_written_into_a_lease_is_kept() {
    let (mut world, mut a) = (World::new(), candidate("a"));
    world.lease = Some(json!({"metadata": {"resourceVersion": "7", "labels": {"team": "x"}},
        "spec": {"strategy": "OldestEmulationVersion"}}));
    assert!(world.turn(&mut a, 0.0));
    let lease = world.lease.unwrap();
    assert_eq!(lease["metadata"]["labels"]["team"], "x");
    assert_eq!(lease["spec"]["strategy"], "OldestEmulationVersion");
}

#[test]
fn waits_are_short_for_who_leads_or_may_and_long_for_the_rest() {
    let (mut world, mut a, mut b) = (World::new(), candidate("a"), candidate("b"));
    let seconds = |election: &Election, now, chance| election.wait(now, chance).as_secs_f64();
    assert!(world.turn(&mut a, 0.0) && !world.turn(&mut b, 0.0));
    let now = world.at(0.0);
    assert!((seconds(&a, now, 1.0) - 2.0).abs() < 0.01);
    assert!((seconds(&b, now, 0.0) - 5.0).abs() < 0.01);
    assert!((seconds(&b, now, 1.0) - 10.0).abs() < 0.01);
    assert!((seconds(&b, world.at(14.0), 0.0) - 1.0).abs() < 0.01, "it runs out then");
    assert!((seconds(&b, world.at(16.0), 1.0) - 4.4).abs() < 0.01);
}
