//! Requests go where the Service's BackendPolicy says: how even, how faithful, and how quick they are.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use nodeway_tests::backend::{read_head, serve};
use nodeway_tests::http::Conn;
use nodeway_tests::{Plain, Service, eventually};

const TEN: usize = 10;
const SOON: Duration = Duration::from_secs(30);

/// A world of ten servers that answer with their numbers, the last one after `last`.
struct Ten {
    plain: Plain,
    web: SocketAddr,
    servers: Vec<SocketAddr>,
}

/// How often each server has answered.
type Counts = BTreeMap<usize, usize>;

impl Ten {
    fn balanced_by(load_balancing: &str, last: Duration) -> Self {
        let mut plain = Plain::new();
        let servers: Vec<SocketAddr> = (0..TEN).map(|_| Plain::backend()).collect();
        for (number, at) in servers.iter().enumerate() {
            let takes = if number == TEN - 1 { last } else { Duration::from_millis(2) };
            serve(*at, move |mut stream| {
                while read_head(&mut stream) {
                    thread::sleep(takes);
                    let text = number.to_string();
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.len());
                    if stream.write_all(format!("{head}{text}").as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
        let policy = format!("loadBalancing: {load_balancing}");
        plain.manifests.backend_policy("web", &policy);
        let web = plain.listen("web");
        let mut this = Self { plain, web, servers };
        this.lead_to(TEN);
        this.plain.start();
        this
    }

    /// The Service leads to the first so many.
    fn lead_to(&self, servers: usize) {
        let to = |service: Service, at: &SocketAddr| service.to(*at);
        let all = self.servers[..servers].iter();
        self.plain.manifests.service(&all.fold(Plain::service("web", "http"), to));
    }

    /// `clients` connections, each with so many requests one after the other.
    fn ask(&self, clients: usize, times: usize) -> (Counts, Vec<Duration>) {
        let web = self.web;
        let client = move || {
            let mut conn = Plain::connect(web);
            let asked = (0..times).map(|_| {
                let start = Instant::now();
                (one(&mut conn, ""), start.elapsed())
            });
            asked.collect::<Vec<_>>()
        };
        let clients: Vec<_> = (0..clients).map(|_| thread::spawn(client)).collect();
        let asked = clients.into_iter().flat_map(|client| client.join().unwrap());
        let (mut counts, mut times) = (Counts::new(), Vec::new());
        for (server, time) in asked {
            *counts.entry(server).or_default() += 1;
            times.push(time);
        }
        times.sort();
        (counts, times)
    }

    /// Who answers each of so many keys.
    fn owners(&self, keys: usize) -> Vec<usize> {
        let mut conn = Plain::connect(self.web);
        (0..keys).map(|key| one(&mut conn, &format!("X-Key: key-{key}\r\n"))).collect()
    }
}

fn one(conn: &mut Conn, fields: &str) -> usize {
    conn.send(format!("GET / HTTP/1.1\r\nHost: web\r\n{fields}\r\n")).unwrap();
    let response = conn.response().unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
    response.text().parse().unwrap()
}

#[test]
fn round_robin_is_exact_whoever_asks_on_whichever_worker() {
    let ten = Ten::balanced_by("{algorithm: RoundRobin}", Duration::from_millis(2));
    let (counts, _) = ten.ask(8, 250);
    assert_eq!(counts, (0..TEN).map(|server| (server, 200)).collect());
}

#[test]
fn a_slow_endpoint_gets_next_to_nothing_and_its_slowness_few_feel() {
    let ten = Ten::balanced_by("{algorithm: PeakEwma}", Duration::from_millis(200));
    let (counts, times) = ten.ask(8, 250);
    let slow = counts.get(&(TEN - 1)).copied().unwrap_or_default();
    assert!(slow <= 20, "{counts:?}");
    assert!(times[times.len() * 99 / 100] < Duration::from_millis(200), "{:?}", times.last());
    let (turns, _) =
        Ten::balanced_by("{algorithm: RoundRobin}", Duration::from_millis(200)).ask(8, 50);
    assert_eq!(turns[&(TEN - 1)], 40, "taking turns everybody feels it");
}

#[test]
fn a_key_stays_with_its_endpoint_and_only_those_of_one_that_goes_move() {
    for (algorithm, more) in [("Maglev", 12), ("RingHash", 0)] {
        let policy = format!(
            "{{algorithm: {algorithm}, hashOn: [{{type: Header, header: {{name: x-key}}}}]}}"
        );
        let ten = Ten::balanced_by(&policy, Duration::from_millis(2));
        let before = ten.owners(400);
        assert_eq!(ten.owners(400), before, "{algorithm}");
        let owners: std::collections::BTreeSet<&usize> = before.iter().collect();
        assert_eq!(owners.len(), TEN, "{algorithm}: everybody has some");
        ten.lead_to(TEN - 1);
        let mut after = vec![];
        eventually(SOON, "nobody asks who has gone", || {
            after = ten.owners(400);
            !after.contains(&(TEN - 1))
        });
        let stayed = before.iter().zip(&after).filter(|(before, _)| **before != TEN - 1);
        let moved = stayed.filter(|(before, after)| before != after).count();
        assert!(moved <= more, "{algorithm}: {moved} of 400 moved though theirs is there");
    }
}

#[test]
fn connections_of_an_undeclared_protocol_go_in_turn() {
    let mut plain = Plain::new();
    let servers = [0, 1, 2].map(|number: u8| {
        let at = Plain::backend();
        serve(at, move |mut stream| drop(stream.write_all(&[number])));
        at
    });
    let service = Service::new("db").port(80, servers[0].port(), None);
    plain.manifests.service(&servers.iter().fold(service, |service, at| service.to(*at)));
    let db = plain.listen("db");
    plain.start();
    let mut counts = [0; 3];
    for _ in 0..60 {
        let mut heard = Vec::new();
        TcpStream::connect(db).unwrap().read_to_end(&mut heard).unwrap();
        counts[usize::from(heard[0])] += 1;
    }
    assert_eq!(counts, [20; 3]);
}
