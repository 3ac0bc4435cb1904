//! What would happen to a request is told as it would happen, with the reasons.

use super::*;
use crate::snapshot::explain::{Explainer, Explanation, Outcome, Question, Unknown};

fn client(namespace: &str, node: &str) -> Change {
    Change::Apply(Object::Pod(Pod {
        name: ObjectName::new(namespace, "client"),
        uid: "".into(),
        mirror: false,
        mesh: Some(Mesh::Enabled),
        node: Some(node.into()),
        host_network: false,
        ended: false,
        workload: "client".into(),
        ips: Arc::default(),
        netns: None,
    }))
}

fn question(namespace: &str, url: &str, headers: &[(&'static str, &str)]) -> Question {
    let from = ObjectName::new(namespace, "client");
    let headers = headers.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect();
    Question { from, method: Method::GET, url: url.parse().unwrap(), headers }
}

fn told(store: &mut Store, question: &Question) -> Result<Explanation, Unknown> {
    let snapshot = compiler().compile(store).unwrap().snapshot;
    Explainer { store, snapshot: &snapshot, now: Millis(0) }.explain(question)
}

fn explained(store: &mut Store, url: &str) -> Explanation {
    told(store, &question("shop", url, &[])).unwrap()
}

fn rules(rules: Vec<HttpRule>) -> Change {
    let Change::Apply(Object::Route(mut made)) = route("web", vec![]) else { panic!() };
    made.rules = Rules::Http(rules);
    Change::Apply(Object::Route(made))
}

fn rule(path: PathMatch, backends: Vec<BackendRef>) -> HttpRule {
    HttpRule {
        name: None,
        matches: vec![HttpMatch { path, headers: vec![], queries: vec![], method: None }],
        filters: vec![],
        backends,
        timeouts: Timeouts::default(),
        retry: None,
        persistence: None,
    }
}

fn shop() -> Store {
    let ready = [true, true, false];
    store([
        client("shop", "here"),
        service("web", "10.96.0.1"),
        slice("web", "web-1", &[("10.0.0.1", ready), ("10.0.0.2", ready)]),
    ])
}

#[test]
fn better_looking_matches_say_why_they_lost() {
    let mut store = shop();
    let mut canary = rule(PathMatch::Exact("/api".into()), vec![backend(1, "web")]);
    canary.matches[0].headers = vec![HeaderMatch {
        name: "x-canary".parse().unwrap(),
        value: TextMatch::Exact("yes".into()),
    }];
    canary.matches[0].method = Some(Method::POST);
    let named = HttpRule {
        name: Some("api".into()),
        ..rule(PathMatch::Prefix("/api".into()), vec![backend(3, "web"), backend(1, "gone")])
    };
    let any = rule(PathMatch::Prefix("/".into()), vec![backend(1, "web")]);
    let other = rule(PathMatch::Exact("/other".into()), vec![backend(1, "web")]);
    store.apply(rules(vec![any, named, canary, other]));
    let asked = question("shop", "http://web.shop/x/%2e%2e/api", &[("x-canary", "no")]);
    let told = told(&mut store, &asked).unwrap();
    assert_eq!(told.frontend.path.as_deref(), Some("/api"));
    let rule = told.rule.unwrap();
    assert_eq!((rule.rule, rule.name.as_deref()), (1, Some("api")));
    assert_eq!(rule.matched_prefix.as_deref(), Some("/api"));
    let tried: Vec<_> = told.matches.iter().map(|m| (m.rule, m.won, m.why.join("; "))).collect();
    let lost = "the method is GET, not POST; the header x-canary is \"no\", not \"yes\"";
    let outranked = "the other goes before it: its path prefix is longer";
    let expected = [(2, false, lost), (1, true, ""), (0, false, outranked)];
    assert_eq!(tried, expected.map(|(rule, won, why)| (rule, won, why.to_owned())));
    assert_eq!(told.other_paths.len(), 1);
    assert_eq!(told.verdict, Outcome::PartlySent);
    let shares: Vec<_> = told.backends.iter().map(|b| (b.share, b.invalid.as_deref())).collect();
    assert_eq!(shares, [(0.75, None), (0.25, Some("Service shop/gone does not exist"))]);
}

#[test]
fn an_endpoint_says_why_it_is_in_or_out() {
    let zoned = |address: &str, zone: &str, ready| EndpointAddress {
        ready,
        for_zones: [Arc::from(zone)].into(),
        ..EndpointAddress::new(address.parse().unwrap())
    };
    let ending = EndpointAddress { terminating: true, ..zoned("10.0.0.4", "a", false) };
    let slice = EndpointSlice {
        name: name("web-1"),
        service: name("web"),
        ports: vec![EndpointPort { name: "http".into(), port: 8080 }],
        endpoints: vec![
            zoned("10.0.0.1", "a", true),
            zoned("10.0.0.2", "b", true),
            zoned("10.0.0.3", "a", false),
            ending,
        ],
    };
    let here = ObjectName::new("", "here");
    let mut store = store([
        client("shop", "here"),
        service("web", "10.96.0.1"),
        Change::Apply(Object::EndpointSlice(slice)),
        Change::Apply(Object::Node(Node { name: here, zone: Some("a".into()) })),
    ]);
    let mut compiler = compiler();
    let snapshot = compiler.compile(&mut store).unwrap().snapshot;
    let tell = |now| {
        let explainer = Explainer { store: &store, snapshot: &snapshot, now: Millis(now) };
        let told = explainer.explain(&question("shop", "http://10.96.0.1/", &[])).unwrap();
        let endpoints = told.backends[0].endpoints.clone();
        endpoints.into_iter().map(|e| (e.usable, e.why)).collect::<Vec<_>>()
    };
    let far = "ready, but its hints name zone b, not a: used if those that are meant for here do not \
        suffice";
    let why = ["ready", far, "not ready", "terminating"];
    let usable = [true, true, false, false];
    let expected = usable.into_iter().zip(why.map(str::to_owned)).collect::<Vec<_>>();
    assert_eq!(tell(0), expected);
    let endpoint = &snapshot.service_port(&name("web"), 80).unwrap().backend.endpoints()[0];
    endpoint.leave_out(Millis(10_000));
    let (usable, why) = tell(1_500).remove(0);
    assert!(!usable && why.starts_with("ejected for 9 s more"), "{why}");
    assert_eq!(tell(10_000), expected);
}

#[test]
fn routes_say_whether_they_apply() {
    let mut store = shop();
    store.apply(client("other", "here"));
    store.apply(route("web", vec![backend(1, "web")]));
    let own = explained(&mut store, "http://web/x");
    assert_eq!(own.routes[0].why, "for all clients");
    assert_eq!(explained(&mut store, "http://web/y").verdict, Outcome::Refused);
    for past in ["https://web:80/x", "tcp://web:80"] {
        let told = explained(&mut store, past);
        assert_eq!(told.verdict, Outcome::Refused, "{past}");
    }
    let Change::Apply(Object::Route(mut consumer)) = route("web", vec![]) else { panic!() };
    consumer.name = ObjectName::new("other", "theirs");
    store.apply(Change::Apply(Object::Route(consumer)));
    let asked = question("other", "http://web.shop.svc.cluster.local:80/x", &[]);
    let told = told(&mut store, &asked).unwrap();
    assert_eq!(told.verdict, Outcome::Refused, "a rule without backends");
    let routes: Vec<_> = told.routes.iter().map(|r| (&*r.route, r.applies, &*r.why)).collect();
    let applies = "for clients of namespace other, instead of the Service's own";
    let instead = "routes of namespace other stand instead of it";
    assert_eq!(routes, [("other/theirs", true, applies), ("shop/route", false, instead)]);
    let told = explained(&mut store, "http://web/x");
    assert_eq!(told.routes[1].why, "for clients of namespace other");
}

#[test]
fn filters_are_run_to_see_what_becomes_of_the_request() {
    let mut store = shop();
    let prefix = |to: &str| Some(PathModifier::Prefix(to.into()));
    let mut moved = rule(PathMatch::Prefix("/old".into()), vec![]);
    moved.filters = vec![Filter::Redirect(Redirect {
        scheme: None,
        hostname: Some("new.example".into()),
        port: None,
        path: prefix("/new"),
        status: http::StatusCode::FOUND,
    })];
    let mut rewritten = rule(PathMatch::Prefix("/a".into()), vec![backend(1, "web")]);
    rewritten.filters = vec![Filter::Rewrite(Rewrite { hostname: None, path: prefix("/b") })];
    store.apply(rules(vec![moved, rewritten]));
    let told = explained(&mut store, "http://web/old/x?q=1");
    assert_eq!(told.verdict, Outcome::Answered);
    let answer = told.rule.unwrap().answer;
    assert_eq!(answer.as_deref(), Some("302, location: http://new.example/new/x?q=1"));
    let told = explained(&mut store, "http://web/a/x?q=1");
    assert_eq!(told.verdict, Outcome::Sent);
    assert_eq!(told.rule.unwrap().becomes.as_deref(), Some("GET /b/x?q=1, host: web"));
}

#[test]
fn a_policy_that_cannot_be_kept_refuses_what_else_would_be_sent() {
    let mut store = shop();
    assert_eq!(explained(&mut store, "http://web/").verdict, Outcome::Sent);
    store.apply(Change::Apply(Object::TlsPolicy(TlsPolicy {
        name: name("tls"),
        generation: 1,
        created: None,
        targets: vec![PolicyTarget { service: name("web"), section: None }],
        settings: Ok(Arc::new(TlsValidation {
            trust: Trust::Bundles(vec![Ok(name("gone"))]),
            hostname: "web.example.com".into(),
            names: [].into(),
        })),
    })));
    let told = explained(&mut store, "http://web/");
    assert_eq!(told.verdict, Outcome::Refused);
    assert!(told.summary.starts_with("503: BackendTLSPolicy shop/tls: "), "{}", told.summary);
    assert!(told.backends[0].refused.is_some());
}

#[test]
fn the_policies_that_a_backend_obeys_are_named() {
    let mut store = shop();
    assert!(explained(&mut store, "http://web/").backends[0].policies.is_empty());
    let policy = |of: &str, created, settings| {
        let targets = vec![PolicyTarget { service: name("web"), section: None }];
        let (name, created) = (name(of), Some(created));
        Change::Apply(Object::BackendPolicy(BackendPolicy {
            name,
            generation: 1,
            created,
            targets,
            settings,
        }))
    };
    store.apply(policy("old", 1, Err("bad".into())));
    store.apply(policy("young", 2, Ok(Arc::default())));
    let told = explained(&mut store, "http://web/");
    let expected = "BackendPolicy shop/old (not valid: the defaults are in force)";
    assert_eq!(told.backends[0].policies, [expected]);
}

#[test]
fn a_backends_own_redirect_is_an_answer() {
    let mut store = shop();
    let mut moved = backend(1, "web");
    moved.filters = vec![Filter::Redirect(Redirect {
        scheme: None,
        hostname: Some("new.example".into()),
        port: None,
        path: None,
        status: http::StatusCode::FOUND,
    })];
    let under = PathMatch::Prefix("/".into());
    store.apply(rules(vec![rule(under.clone(), vec![moved.clone()])]));
    let told = explained(&mut store, "http://web/");
    assert_eq!(told.verdict, Outcome::Answered);
    let answer = told.backends[0].answer.as_deref();
    assert_eq!(answer, Some("302, location: http://new.example/"));
    store.apply(rules(vec![rule(under, vec![moved, backend(1, "web")])]));
    let told = explained(&mut store, "http://web/");
    assert_eq!(told.verdict, Outcome::Sent);
    let expected = "answered with 302, location: http://new.example/ (50.0 %) or to Service shop/web, port 80 (50.0 %)";
    assert!(told.summary.ends_with(expected), "{}", told.summary);
}

#[test]
fn of_two_routes_with_one_name_that_of_the_rules_kind_is_told() {
    let mut store = shop();
    for (kind, port) in [(Kind::HttpRoute, None), (Kind::GrpcRoute, Some(81))] {
        let Change::Apply(Object::Route(mut made)) = route("web", vec![backend(1, "web")]) else {
            panic!()
        };
        made.kind = kind;
        made.parents[0].port = port;
        store.apply(Change::Apply(Object::Route(made)));
    }
    let told = explained(&mut store, "http://web/x");
    assert_eq!(told.rule.unwrap().kind, "HTTPRoute");
    assert_eq!(told.verdict, Outcome::Sent);
}

#[test]
fn a_client_outside_the_mesh_is_told_first() {
    let mut store = shop();
    let Change::Apply(Object::Pod(mut outside)) = client("shop", "here") else { panic!() };
    outside.mesh = None;
    store.apply(Change::Apply(Object::Pod(outside)));
    let told = explained(&mut store, "http://web/");
    assert_eq!(told.verdict, Outcome::NotCaught);
    assert!(!told.verdict.is_good());
    assert!(told.summary.ends_with("else: to Service shop/web, port 80"), "{}", told.summary);
}

#[test]
fn what_cannot_be_explained_says_why() {
    let mut store = shop();
    let Change::Apply(Object::Service(mut headless)) = service("headless", "10.96.0.9") else {
        panic!()
    };
    (headless.kind, headless.cluster_ips) = (ServiceKind::Headless, vec![]);
    store.apply(Change::Apply(Object::Service(headless)));
    for (namespace, url, word) in [
        ("nowhere", "http://web/", "no Pod nowhere/client"),
        ("shop", "http://none/", "no Service shop/none"),
        ("shop", "http://web.other/", "no Service other/web"),
        ("shop", "http://web:81/", "no TCP port 81, but 80"),
        ("shop", "http://web.shop.example/", "no Service's name"),
        ("shop", "http://10.96.0.77/", "no Service has 10.96.0.77:80"),
        ("shop", "tcp://web/", "and a port"),
        ("shop", "ftp://web:80/", "and a port"),
        ("shop", "http://headless/", "headless"),
    ] {
        let why = told(&mut store, &question(namespace, url, &[])).unwrap_err();
        assert!(why.to_string().contains(word), "{url}: {why}");
    }
}

#[test]
fn which_way_connections_go_is_told_for_each_family_with_the_reason() {
    let ready = [true, true, false];
    let opaque = |protocol| {
        let ips = ["10.96.0.1", "fd00:96::1"].map(|ip| ip.parse().unwrap());
        let port = ServicePort { name: "http".into(), port: 80, protocol };
        let service = Service::new(name("web"), ips.into(), vec![port]);
        let mut store = store([
            client("shop", "here"),
            Change::Apply(Object::Service(service)),
            slice("web", "web-1", &[("10.0.0.1", ready)]),
        ]);
        let told = explained(&mut store, "tcp://web:80");
        told.frontend.ways.into_iter().map(|way| (way.family, way.proxy, way.why))
    };
    let told: Vec<_> = opaque(AppProtocol::Tcp).collect();
    let other = "all endpoints are of the other family";
    assert_eq!(told.len(), 2);
    assert_eq!((&*told[0].0, told[0].1), ("IPv4", false), "{told:?}");
    assert_eq!((&*told[1].0, told[1].1, &*told[1].2), ("IPv6", true, other));
    let whys =
        opaque(AppProtocol::Detect).map(|(_, proxy, why)| proxy && why.contains("found out"));
    assert_eq!(whys.collect::<Vec<_>>(), [true, true]);
}
