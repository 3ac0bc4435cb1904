use super::*;

fn about(name: &str) -> Subject {
    Subject { kind: Kind::Pod, name: ObjectName::new("shop", name), uid: Some("1".into()) }
}

fn notice(name: &str, tone: Tone, message: &str) -> Notice {
    Notice { about: about(name), tone, reason: "Reason", message: message.to_owned() }
}

fn warning(name: &str, message: &str) -> Notice {
    notice(name, Tone::Warning, message)
}

/// A process, and the API.
struct World {
    start: Instant,
    now: Instant,
    series: Series,
    posts: Vec<(f64, Event)>,
}

impl World {
    fn new() -> Self {
        let start = Instant::now();
        Self { start, now: start, series: Series::new(start), posts: Vec::new() }
    }

    fn at(&self, at: f64) -> Instant {
        self.start + Duration::from_secs_f64(at)
    }

    fn take(&mut self, notice: Notice, at: f64) -> bool {
        let now = self.at(at);
        self.now = self.now.max(now);
        self.series.take(notice, now, Timestamp::UNIX_EPOCH + Duration::from_secs_f64(at))
    }

    /// Posts all that is due up to `until`; the names of new ones are their messages.
    fn post(&mut self, until: f64) -> usize {
        let before = self.posts.len();
        while let Some(wake) = self.series.wake(self.now)
            && wake <= self.at(until)
        {
            self.now = self.now.max(wake);
            if let Some((id, event)) = self.series.next(wake) {
                let name = event.name.clone().unwrap_or_else(|| event.message.clone());
                self.series.posted((id, &event), Posted::As(name), wake, 0.0);
                self.posts.push(((wake - self.start).as_secs_f64(), event));
            }
        }
        self.posts.len() - before
    }
}

#[test]
fn the_same_thing_again_and_again_is_one_event_that_counts() {
    let mut world = World::new();
    for i in 0..600 {
        assert!(world.take(warning("a", "x"), f64::from(i)));
        world.post(f64::from(i));
    }
    world.post(10_000.0);
    let (created, updates) = world.posts.split_first().unwrap();
    assert_eq!((created.1.count, &created.1.name), (1, &None));
    assert!(updates.len() < 8, "{}", updates.len());
    assert!(updates.iter().all(|(_, event)| event.name.is_some()));
    let last = &updates.last().unwrap().1;
    assert_eq!((last.count, last.last.as_second()), (600, 599));
    assert_eq!(last.first.as_second(), 0);
    assert_eq!(world.post(100_000.0), 0, "and nothing more when nothing is said");
}

#[test]
fn one_objects_many_events_are_cut_off_and_others_are_not() {
    let mut world = World::new();
    let taken = (0..100).filter(|i| world.take(warning("a", &i.to_string()), 0.0)).count();
    assert_eq!(taken, 25);
    assert!(world.take(warning("b", "x"), 0.0));
    assert!(!world.take(warning("a", "y"), 299.0) && world.take(warning("a", "y"), 301.0));
}

#[test]
fn a_flood_is_posted_at_a_pace() {
    let mut world = World::new();
    for i in 0..200 {
        world.take(warning(&i.to_string(), "x"), 0.0);
    }
    assert_eq!(world.post(0.0), 50);
    let rest = world.post(1000.0);
    assert_eq!(rest, 150);
    assert!((29.0..31.0).contains(&world.posts[199].0), "{}", world.posts[199].0);
}

#[test]
fn who_recovers_is_told_of_once_and_only_if_it_was_warned_of() {
    let mut world = World::new();
    assert!(world.take(notice("a", Tone::Recovered, "well"), 0.0));
    assert_eq!(world.post(1.0), 0);
    world.take(warning("a", "x"), 1.0);
    for i in 0..10 {
        world.take(notice("a", Tone::Recovered, "well"), 2.0 + f64::from(i));
    }
    assert_eq!(world.post(1000.0), 2);
    let recovered = &world.posts[1].1;
    assert_eq!((recovered.tone, recovered.count), (Tone::Normal, 1));
}

#[test]
fn an_event_that_the_api_has_forgotten_is_made_anew() {
    let mut world = World::new();
    world.take(warning("a", "x"), 0.0);
    world.post(0.0);
    world.take(warning("a", "x"), 100.0);
    let now = world.at(100.0);
    let (id, event) = world.series.next(now).unwrap();
    assert!(event.name.is_some() && event.count == 2);
    world.series.posted((id, &event), Posted::Forgotten, now, 0.0);
    let (_, event) = world.series.next(now).unwrap();
    assert!(event.name.is_none() && event.count == 1);
}

#[test]
fn what_cannot_be_posted_is_tried_again_for_a_while() {
    let mut world = World::new();
    world.take(warning("a", "x"), 0.0);
    let mut tries = Vec::new();
    while let Some(wake) = world.series.wake(world.now) {
        world.now = wake;
        let (id, event) = world.series.next(wake).unwrap();
        tries.push((wake - world.start).as_secs_f64());
        world.series.posted((id, &event), Posted::Later, wake, 1.0);
    }
    assert_eq!(tries.len(), 21);
    assert!(tries[1] >= 1.0 && tries[2] >= 3.0 && tries[20] < 2000.0, "{tries:?}");
    assert!(world.series.all.is_empty() && world.series.by_key.is_empty());
}

#[test]
fn a_server_that_has_too_much_to_do_is_told_nothing_for_as_long_as_it_says() {
    let mut world = World::new();
    for name in ["a", "b"] {
        world.take(warning(name, "x"), 0.0);
    }
    let now = world.at(0.0);
    let (id, event) = world.series.next(now).unwrap();
    world.series.posted((id, &event), Posted::Busy(Duration::from_secs(7)), now, 0.0);
    assert_eq!((world.post(6.9), world.post(10.0)), (0, 2));
}

#[test]
fn nothing_is_remembered_for_ever() {
    let mut world = World::new();
    for i in 0..5000 {
        world.take(warning(&i.to_string(), "x"), 0.0);
    }
    assert_eq!(world.series.all.len(), MOST_SERIES);
    world.post(2000.0);
    world.take(warning("late", "x"), 10_000.0);
    assert_eq!((world.series.all.len(), world.series.objects.len()), (1, 1));
}

#[test]
fn who_was_warned_of_is_remembered_for_a_day() {
    const DAY: f64 = 24.0 * 3600.0;
    let mut world = World::new();
    world.take(warning("a", "x"), 0.0);
    world.take(warning("b", "x"), 0.0);
    world.take(warning("b", "x"), DAY - 100.0);
    world.take(warning("c", "x"), DAY + 100.0);
    assert_eq!(world.series.warned.len(), 2, "a's recovery is no news any more");
    let now = world.at(DAY + 100.0);
    world.now = now;
    world.post(DAY + 100.0);
    let before = world.posts.len();
    world.take(notice("a", Tone::Recovered, "well"), DAY + 200.0);
    world.take(notice("b", Tone::Recovered, "well"), DAY + 200.0);
    world.post(DAY + 300.0);
    let recovered: Vec<_> =
        world.posts[before..].iter().filter(|(_, event)| event.tone == Tone::Normal).collect();
    assert_eq!(recovered.len(), 1);
    assert_eq!(&*recovered[0].1.about.name.name, "b");
}

#[test]
fn another_object_of_the_same_name_has_events_of_its_own() {
    let mut world = World::new();
    world.take(warning("a", "x"), 0.0);
    world.post(0.0);
    let mut other = warning("a", "x");
    other.about.uid = Some("2".into());
    world.take(other, 1.0);
    world.post(1000.0);
    let uids: Vec<_> = world.posts.iter().map(|(_, e)| e.about.uid.clone().unwrap()).collect();
    assert_eq!(uids, ["1".into(), "2".into()]);
    assert!(world.posts[1].1.name.is_none());
}
