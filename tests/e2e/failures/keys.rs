//! Requests of one key go to one endpoint, and leave it only if it is left out.

use std::collections::BTreeSet;

use nodeway_tests::http::Response;

use super::*;

fn world(hash_on: &str) -> (Plain, SocketAddr, Vec<nodeway_tests::Proc>) {
    let mut plain = Plain::new();
    let mut service = World::service();
    let mut servers = Vec::new();
    for version in ["a", "b", "c", "d", "e"] {
        let at = Plain::backend();
        servers.push(plain.testserver(at, version));
        service = service.to(at);
    }
    plain.manifests.service(&service);
    let policy = format!("loadBalancing: {{algorithm: Maglev, hashOn: [{hash_on}]}}");
    plain.manifests.backend_policy("web", &policy);
    let web = plain.listen("web");
    plain.start();
    (plain, web, servers)
}

fn ask(web: SocketAddr, path: &str, field: &str) -> Response {
    let mut conn = Plain::connect(web);
    conn.send(format!("GET {path} HTTP/1.1\r\nHost: web\r\n{field}\r\n")).unwrap();
    let response = conn.response().unwrap();
    assert_eq!(response.status, 200);
    response
}

fn version(response: &Response) -> String {
    response.header("x-version").unwrap().to_owned()
}

#[test]
fn a_header_leads_to_one_endpoint_and_another_value_to_another() {
    let (_plain, web, mut servers) = world("{type: Header, header: {name: x-user}}, {type: Path}");
    let by_user = |user: usize| version(&ask(web, "/", &format!("x-user: {user}\r\n")));
    let owners: Vec<String> = (0..20).map(by_user).collect();
    for _ in 0..3 {
        assert_eq!((0..20).map(by_user).collect::<Vec<_>>(), owners);
    }
    assert!(owners.iter().collect::<BTreeSet<_>>().len() > 2, "{owners:?}");
    let by_path = |path: usize| version(&ask(web, &format!("/{path}?{path}"), ""));
    let paths: Vec<String> = (0..20).map(by_path).collect();
    assert!(paths.iter().collect::<BTreeSet<_>>().len() > 2, "{paths:?}");
    assert_eq!(by_path(3), paths[3]);
    // Whose endpoint is gone goes to another one; all others stay.
    let gone = ["a", "b", "c", "d", "e"].iter().position(|v| *v == owners[0]).unwrap();
    servers[gone].kill();
    for (user, owner) in owners.iter().enumerate() {
        let now = by_user(user);
        assert_eq!(now == *owner, *owner != owners[0], "user {user}: {owner}, then {now}");
    }
}

#[test]
fn a_cookie_is_given_to_who_has_none_and_leads_back() {
    let (_plain, web, _servers) =
        world("{type: Cookie, cookie: {name: way, path: /shop, ttl: 1m}}");
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        let first = ask(web, "/", "");
        let cookie = first.header("set-cookie").unwrap().to_owned();
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        assert_eq!(attributes, "Max-Age=60; Path=/shop; HttpOnly");
        for _ in 0..3 {
            let next = ask(web, "/", &format!("cookie: other=1; {pair}\r\n"));
            assert_eq!((version(&next), next.header("set-cookie")), (version(&first), None));
        }
        seen.insert(version(&first));
    }
    assert!(seen.len() > 2, "{seen:?}");
}

#[test]
fn a_client_without_a_key_goes_by_its_address() {
    let (_plain, web, _servers) = world("{type: SourceIP}");
    let first = version(&ask(web, "/", ""));
    assert!((0..10).all(|n| version(&ask(web, &format!("/{n}"), "")) == first));
}
