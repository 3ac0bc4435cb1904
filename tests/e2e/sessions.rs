//! A client that repeats what it was given comes back to the same endpoint.

use std::net::SocketAddr;
use std::time::Duration;

use nodeway_tests::http::Response;
use nodeway_tests::{Plain, Proc, eventually};

const SOON: Duration = Duration::from_secs(30);

/// Test servers, by their versions.
struct Servers {
    at: Vec<(SocketAddr, &'static str)>,
    running: Vec<Proc>,
}

impl Servers {
    fn start(plain: &Plain, versions: &[&'static str]) -> Self {
        let at: Vec<_> = versions.iter().map(|version| (Plain::backend(), *version)).collect();
        let running = at.iter().map(|(at, version)| plain.testserver(*at, version)).collect();
        Self { at, running }
    }

    fn kill(&mut self, version: &str) {
        let place = self.at.iter().position(|(_, name)| *name == version).unwrap();
        self.running[place].kill();
    }
}

/// The Service `name` with these of the servers.
fn serve(plain: &Plain, name: &str, servers: &Servers, with: impl Fn(&str) -> bool) {
    let service = Plain::service(name, "http");
    let at = servers.at.iter().filter(|(_, version)| with(version));
    plain.manifests.service(&at.fold(service, |service, (at, _)| service.to(*at)));
}

fn rule(session: &str) -> String {
    format!("- sessionPersistence: {session}\n  backendRefs: [{{name: web, port: 80}}]")
}

/// A world of three servers and this rule; its listener.
fn three(session: &str) -> (Plain, SocketAddr, Servers) {
    let mut plain = Plain::new();
    let servers = Servers::start(&plain, &["v1", "v2", "v3"]);
    serve(&plain, "web", &servers, |_| true);
    plain.manifests.route("web", "web", &rule(session));
    let web = plain.listen("web");
    plain.start();
    (plain, web, servers)
}

/// Each request comes over a connection of its own, so to either worker.
fn get(web: SocketAddr, fields: &str) -> Response {
    let mut conn = Plain::connect(web);
    conn.send(format!("GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n{fields}\r\n")).unwrap();
    let response = conn.response().unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
    response
}

fn version(response: &Response) -> String {
    response.header("x-version").unwrap().to_owned()
}

/// The field that repeats the cookie of a response, and who gave it.
fn begin(web: SocketAddr) -> (String, String) {
    let response = get(web, "");
    let cookie = response.header("set-cookie").expect("a cookie").split(';').next().unwrap();
    (format!("Cookie: other=1; {cookie}\r\n"), version(&response))
}

#[test]
fn a_cookie_leads_back_to_its_endpoint() {
    let (_plain, web, servers) = three("{sessionName: sid}");
    let given = get(web, "").header("set-cookie").unwrap().to_owned();
    assert!(
        given.starts_with("sid=") && given.contains("; Path=/; HttpOnly; SameSite=Strict"),
        "{given}"
    );
    assert!(!given.contains("Max-Age") && !given.contains("Expires"), "{given}");
    let mut met = Vec::new();
    for _ in 0..8 {
        let (cookie, first) = begin(web);
        for _ in 0..20 {
            let response = get(web, &cookie);
            assert_eq!(version(&response), first);
            assert_eq!(response.header("set-cookie"), None, "there is nothing new to say");
        }
        met.push(first);
    }
    met.sort();
    met.dedup();
    assert!(met.len() > 1, "all sessions are with {met:?}");
    // What is not ours begins a session, and is the application's.
    let foreign = get(web, "Cookie: sid=of-the-application\r\n");
    assert!(foreign.header("set-cookie").is_some_and(|cookie| cookie.starts_with("sid=")));
    assert!(foreign.text().contains("of-the-application"), "{}", foreign.text());
    // Another process: on another node, as it were, or after a restart.
    let mut there = Plain::new();
    serve(&there, "web", &servers, |_| true);
    there.manifests.route("web", "web", &rule("{sessionName: sid}"));
    let web_there = there.listen("web");
    there.start();
    let (cookie, first) = begin(web);
    for _ in 0..20 {
        assert_eq!(version(&get(web_there, &cookie)), first);
    }
}

#[test]
fn a_services_policy_gives_sessions_where_no_rule_does() {
    let mut plain = Plain::new();
    let servers = Servers::start(&plain, &["v1", "v2", "v3"]);
    for service in ["web", "front"] {
        serve(&plain, service, &servers, |_| true);
    }
    plain.manifests.put(
        "sessions.yaml",
        "apiVersion: gateway.networking.x-k8s.io/v1alpha1\nkind: XBackendTrafficPolicy\n\
         metadata: {name: sessions, namespace: default}\nspec:\n  \
         targetRefs: [{group: '', kind: Service, name: web}]\n  \
         sessionPersistence: {type: Cookie}\n",
    );
    let rules = "- backendRefs: [{name: web, port: 80}, {name: front, port: 80}]";
    plain.manifests.route("front", "front", rules);
    let (web, front) = (plain.listen("web"), plain.listen("front"));
    plain.start();
    let mut names = Vec::new();
    for at in [web, front] {
        let given = get(at, "").header("set-cookie").expect("a cookie").to_owned();
        assert!(!given.contains("Path"), "{given}");
        names.push(given.split('=').next().unwrap().to_owned());
        for _ in 0..5 {
            let (cookie, first) = begin(at);
            for _ in 0..10 {
                assert_eq!(version(&get(at, &cookie)), first);
            }
        }
    }
    assert_ne!(names[0], names[1], "a rule has sessions of its own");
}

#[test]
fn a_header_leads_back_to_its_endpoint() {
    let (_plain, web, _servers) = three("{type: Header, sessionName: x-session}");
    let response = get(web, "");
    let token = response.header("x-session").expect("a token").to_owned();
    for _ in 0..20 {
        let again = get(web, &format!("X-Session: {token}\r\n"));
        assert_eq!(version(&again), version(&response));
        assert_eq!(again.header("x-session"), Some(&*token));
    }
}

#[test]
fn a_permanent_cookie_says_how_long() {
    let (_plain, web, _servers) =
        three("{absoluteTimeout: 5m, cookieConfig: {lifetimeType: Permanent}}");
    let given = get(web, "").header("set-cookie").unwrap().to_owned();
    assert!(given.starts_with("nodeway-session-") && given.ends_with("; Max-Age=300"), "{given}");
}

#[test]
fn a_session_that_is_idle_ends() {
    let (_plain, web, _servers) = three("{idleTimeout: 2s}");
    let (cookie, _) = begin(web);
    let told = |cookie: &str| get(web, cookie).header("set-cookie").map(str::to_owned);
    // It is told anew by each response, and ends without: then a new one may be with anybody.
    assert!(told(&cookie).is_some());
    let before: Vec<String> = (0..3).map(|_| version(&get(web, &cookie))).collect();
    assert!(before.windows(2).all(|two| two[0] == two[1]), "{before:?}");
    let mut met = vec![before[0].clone()];
    eventually(SOON, "the session ends", || {
        // The same old token each time: nothing prolongs it.
        met.push(version(&get(web, &cookie)));
        met.last() != met.first()
    });
}

#[test]
fn an_endpoint_that_goes_or_dies_is_followed_by_another_for_good() {
    let (plain, web, mut servers) = three("{}");
    for dies in [false, true] {
        let (cookie, first) = begin(web);
        if dies {
            servers.kill(&first);
        } else {
            serve(&plain, "web", &servers, |version| version != first);
        }
        eventually(SOON, "somebody else answers", || version(&get(web, &cookie)) != first);
        let response = get(web, &cookie);
        let given = response.header("set-cookie").expect("a new cookie").split(';').next().unwrap();
        let cookie = format!("Cookie: {given}\r\n");
        for _ in 0..20 {
            assert_eq!(version(&get(web, &cookie)), version(&response));
        }
        if !dies {
            serve(&plain, "web", &servers, |_| true);
            eventually(SOON, "all are back", || (0..9).any(|_| version(&get(web, "")) == first));
        }
    }
}

#[test]
fn a_session_keeps_its_backend_when_the_weights_change() {
    let mut plain = Plain::new();
    let servers = Servers::start(&plain, &["v1", "v2"]);
    serve(&plain, "web", &servers, |_| true);
    serve(&plain, "web-v1", &servers, |version| version == "v1");
    serve(&plain, "web-v2", &servers, |version| version == "v2");
    let split = |plain: &Plain, v1: u32, v2: u32| {
        let backends = format!(
            "[{{name: web-v1, port: 80, weight: {v1}}}, {{name: web-v2, port: 80, weight: {v2}}}]"
        );
        plain.manifests.route(
            "web",
            "web",
            &format!("- sessionPersistence: {{}}\n  backendRefs: {backends}"),
        );
    };
    split(&plain, 1, 0);
    let web = plain.listen("web");
    plain.start();
    let (cookie, first) = begin(web);
    assert_eq!(first, "v1");
    split(&plain, 0, 1);
    eventually(SOON, "new clients go to v2", || begin(web).1 == "v2");
    for _ in 0..20 {
        assert_eq!(version(&get(web, &cookie)), "v1");
        assert_eq!(begin(web).1, "v2");
    }
}

#[test]
fn two_rules_do_not_share_a_session() {
    let (plain, web, _servers) = three("{}");
    let rules = "
- matches: [{path: {value: /a}}]
  sessionPersistence: {sessionName: sid}
  backendRefs: [{name: web, port: 80}]
- matches: [{path: {value: /b}}]
  sessionPersistence: {sessionName: sid}
  backendRefs: [{name: web, port: 80}]";
    plain.manifests.route("web", "web", rules);
    let ask = |path: &str, fields: &str| {
        let mut conn = Plain::connect(web);
        conn.send(format!("GET {path} HTTP/1.1\r\nHost: web\r\n{fields}\r\n")).unwrap();
        conn.response().unwrap()
    };
    eventually(SOON, "the rules are in force", || {
        ask("/a", "").header("set-cookie").is_some_and(|cookie| cookie.contains("; Path=/a;"))
    });
    let given = ask("/a/deep", "").header("set-cookie").unwrap().to_owned();
    let cookie = format!("Cookie: {}\r\n", given.split(';').next().unwrap());
    assert_eq!(ask("/a", &cookie).header("set-cookie"), None);
    let other = ask("/b", &cookie);
    assert!(other.header("set-cookie").is_some_and(|cookie| cookie.contains("; Path=/b;")));
}
