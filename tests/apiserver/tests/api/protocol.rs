//! The protocol, as Kubernetes' API concepts have it.

use std::time::{Duration, Instant};

use nodeway_apiserver::{ApiServer, Options, Resource, Streaming};
use serde_json::{Value, json};

use crate::client::{Answer, ask, get, watch};
use crate::objects::{lease, service};

const SERVICES: &str = "/api/v1/services";
const MERGE: &str = "application/merge-patch+json";

fn server() -> ApiServer {
    ApiServer::start(Options::default())
}

fn names(answer: &Answer) -> Vec<&str> {
    let items = answer.body["items"].as_array().unwrap();
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

fn version(answer: &Answer) -> u64 {
    answer.body["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

fn pair(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

#[tokio::test]
async fn a_list_comes_in_pages_until_its_history_is_compacted() {
    let server = server();
    for name in ["a", "b", "c", "d", "e"] {
        server.put(&service(name, "web"));
    }
    let first = get(&server, &format!("{SERVICES}?limit=2")).await;
    assert_eq!((names(&first), version(&first)), (vec!["a", "b"], server.version()));
    assert_eq!(first.body["metadata"]["remainingItemCount"], 3);
    let token = |answer: &Answer| answer.body["metadata"]["continue"].as_str().unwrap().to_owned();
    let second = get(&server, &format!("{SERVICES}?limit=2&continue={}", token(&first))).await;
    assert_eq!((names(&second), version(&second)), (vec!["c", "d"], version(&first)));
    let rest = format!("{SERVICES}?limit=2&continue={}", token(&second));
    let third = get(&server, &rest).await;
    assert_eq!(names(&third), ["e"]);
    assert!(third.body["metadata"]["continue"].is_null());
    server.compact();
    let late = get(&server, &rest).await;
    assert_eq!((late.code, &late.body["reason"]), (410, &json!("Expired")));
    assert_eq!(get(&server, &format!("{SERVICES}?continue=x")).await.code, 400);
}

#[tokio::test]
async fn a_watch_goes_on_from_the_version_that_it_names() {
    let server = server();
    server.put(&service("a", "web"));
    let known = server.version();
    server.put(&service("b", "web"));
    server.put(&service("a", "api"));
    let path = format!("{SERVICES}?watch=true&resourceVersion={known}");
    let mut events = watch(&server, &path).await;
    assert_eq!(events.named().await, pair("ADDED", "b"));
    let (kind, object) = events.next().await.unwrap();
    assert_eq!((kind.as_str(), &object["metadata"]["labels"]["app"]), ("MODIFIED", &json!("api")));
    server.delete("services", "shop", "b");
    let (kind, object) = events.next().await.unwrap();
    assert_eq!(kind, "DELETED");
    assert_eq!(object["metadata"]["resourceVersion"], server.version().to_string());
    // To one who selects, an object that does not match any more is gone.
    let path = format!("{path}&labelSelector=app%3Dweb");
    let mut selected = watch(&server, &path).await;
    assert_eq!(selected.named().await, pair("ADDED", "b"));
    assert_eq!(selected.named().await, pair("DELETED", "a"));
}

#[tokio::test]
async fn who_asks_for_a_history_that_is_gone_is_told_410() {
    let server = ApiServer::start(Options { history: 2, ..Options::default() });
    server.put(&service("a", "web"));
    let path = format!("{SERVICES}?watch=true&resourceVersion={}", server.version());
    for app in ["b", "c", "d"] {
        server.put(&service("a", app));
    }
    let gone = get(&server, &path).await;
    assert_eq!((gone.code, &gone.body["reason"]), (410, &json!("Expired")));
    server.faults(|faults| faults.gone = 1);
    let now = format!("{SERVICES}?watch=true&resourceVersion={}", server.version());
    assert_eq!(get(&server, &now).await.code, 410, "on demand");
    let mut events = watch(&server, &now).await;
    server.faults(|faults| faults.gone_events = 1);
    server.put(&service("a", "e"));
    let (kind, object) = events.next().await.unwrap();
    assert_eq!((kind.as_str(), &object["code"]), ("ERROR", &json!(410)));
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn bookmarks_tell_how_far_a_watch_has_come() {
    let server = server();
    server.faults(|faults| faults.bookmarks = Duration::from_millis(20));
    server.put(&service("a", "web"));
    let path = format!("{SERVICES}?watch=true&resourceVersion={}", server.version());
    let mut events = watch(&server, &format!("{path}&allowWatchBookmarks=true")).await;
    server.put(&json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "shop"}}));
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let (kind, object) = events.next().await.unwrap();
        assert_eq!((kind.as_str(), &object["kind"]), ("BOOKMARK", &json!("Service")));
        let version = object["metadata"]["resourceVersion"].as_str().unwrap();
        if version.parse() == Ok(server.version()) {
            break;
        }
        assert!(Instant::now() < deadline, "{object}");
    }
}

#[tokio::test]
async fn a_listing_is_streamed_by_who_can() {
    let server = server();
    for name in ["a", "b"] {
        server.put(&service(name, "web"));
    }
    let path = format!(
        "{SERVICES}?watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    );
    let mut events = watch(&server, &path).await;
    assert_eq!(events.named().await, pair("ADDED", "a"));
    assert_eq!(events.named().await, pair("ADDED", "b"));
    let (kind, end) = events.next().await.unwrap();
    assert_eq!(kind, "BOOKMARK");
    assert_eq!(end["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    server.put(&service("c", "web"));
    assert_eq!(events.named().await, pair("ADDED", "c"));

    server.faults(|faults| faults.streaming = Streaming::Off);
    assert_eq!(get(&server, &path).await.code, 422);
    server.faults(|faults| faults.streaming = Streaming::OldEtcd);
    let (kind, status) = watch(&server, &path).await.next().await.unwrap();
    assert_eq!((kind.as_str(), &status["code"]), ("ERROR", &json!(500)));
    server.faults(|faults| faults.streaming = Streaming::Unknown);
    server.faults(|faults| faults.bookmarks = Duration::from_millis(20));
    let mut events = watch(&server, &path).await;
    for name in ["a", "b", "c"] {
        assert_eq!(events.named().await, pair("ADDED", name));
    }
    let (_, bookmark) = events.next().await.unwrap();
    assert!(bookmark["metadata"]["annotations"].is_null(), "{bookmark}");
}

#[tokio::test]
async fn who_may_not_is_told_so() {
    let server = server();
    server.faults(|faults| faults.forbid("list", "services"));
    let forbidden = get(&server, SERVICES).await;
    assert_eq!(forbidden.code, 403);
    let message = forbidden.body["message"].as_str().unwrap();
    assert!(message.contains("cannot list resource \"services\" in API group \"\""), "{message}");
    assert_eq!(get(&server, "/api/v1/pods").await.code, 200);
    let tokens = server.faults(|faults| std::mem::take(&mut faults.tokens));
    let unauthorized = get(&server, SERVICES).await;
    assert_eq!((unauthorized.code, &unauthorized.body["kind"]), (401, &json!("Status")));
    server.faults(|faults| (faults.tokens, faults.refuse) = (tokens, (1, 429)));
    server.faults(|faults| faults.retry_after = Some(7));
    let busy = get(&server, "/api/v1/pods").await;
    assert_eq!((busy.code, busy.retry_after.as_deref()), (429, Some("7")));
    assert_eq!(get(&server, "/api/v1/pods").await.code, 200);
}

#[tokio::test]
async fn of_two_who_take_a_lease_one_is_told_of_a_conflict() {
    let server = server();
    let leases = "/apis/coordination.k8s.io/v1/namespaces/shop/leases";
    let created = ask(&server, "POST", leases, "application/json", &lease("a")).await.unwrap();
    assert_eq!(created.code, 201);
    let again = ask(&server, "POST", leases, "application/json", &lease("b")).await.unwrap();
    assert_eq!((again.code, &again.body["reason"]), (409, &json!("AlreadyExists")));
    let (mut first, mut second) = (created.body.clone(), created.body);
    first["spec"]["holderIdentity"] = json!("b");
    second["spec"]["holderIdentity"] = json!("c");
    let path = format!("{leases}/leader");
    let won = ask(&server, "PUT", &path, "application/json", &first).await.unwrap();
    let lost = ask(&server, "PUT", &path, "application/json", &second).await.unwrap();
    assert_eq!((won.code, lost.code, &lost.body["reason"]), (200, 409, &json!("Conflict")));
    let held = server.get("leases.coordination.k8s.io", "shop", "leader").unwrap();
    assert_eq!(held["spec"]["holderIdentity"], "b");
}

#[tokio::test]
async fn a_status_is_written_apart_from_its_object() {
    let server = server();
    server.put(&service("web", "web"));
    let path = "/api/v1/namespaces/shop/services/web";
    let patch = json!({"spec": {"clusterIP": "10.96.0.7"}, "status": {"loadBalancer": {}}});
    ask(&server, "PATCH", &format!("{path}/status"), MERGE, &patch).await.unwrap();
    let now = server.get("services", "shop", "web").unwrap();
    assert_eq!(
        (&now["spec"]["clusterIP"], &now["status"]),
        (&json!("10.96.0.1"), &patch["status"])
    );
    assert_eq!(now["metadata"]["generation"], 1, "a status is no new generation");
    ask(
        &server,
        "PATCH",
        path,
        MERGE,
        &json!({"spec": {"clusterIP": "10.96.0.7"}, "status": null}),
    )
    .await
    .unwrap();
    let now = server.get("services", "shop", "web").unwrap();
    assert_eq!(
        (&now["spec"]["clusterIP"], &now["status"]),
        (&json!("10.96.0.7"), &patch["status"])
    );
    assert_eq!(now["metadata"]["generation"], 2);
    let odd = ask(&server, "PATCH", path, "application/x", &patch).await.unwrap();
    assert_eq!(odd.code, 415);
}

#[tokio::test]
async fn what_has_finalizers_is_marked_and_goes_with_the_last_of_them() {
    let server = server();
    let mut web = service("web", "web");
    web["metadata"]["finalizers"] = json!(["nodeway.dev/test"]);
    server.put(&web);
    let path = "/api/v1/namespaces/shop/services/web";
    ask(&server, "DELETE", path, "", &Value::Null).await.unwrap();
    let marked = server.get("services", "shop", "web").unwrap();
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    ask(&server, "PATCH", path, MERGE, &json!({"metadata": {"finalizers": null}})).await.unwrap();
    assert!(server.get("services", "shop", "web").is_none());
}

#[tokio::test]
async fn trouble_comes_on_demand() {
    let server = server();
    server.put(&service("a", "web"));
    let began = Instant::now();
    server.faults(|faults| faults.latency = Duration::from_millis(200));
    assert_eq!(get(&server, SERVICES).await.code, 200);
    assert!(began.elapsed() >= Duration::from_millis(200));
    server.faults(|faults| faults.latency = Duration::ZERO);

    server.faults(|faults| faults.cut = Some(("list".into(), "services".into(), 30)));
    assert!(ask(&server, "GET", SERVICES, "", &Value::Null).await.is_none(), "it breaks off");
    assert_eq!(get(&server, SERVICES).await.code, 200, "once");

    let path = format!("{SERVICES}?watch=true&resourceVersion={}", server.version());
    let mut events = watch(&server, &path).await;
    server.cut();
    assert!(events.next().await.is_none());
    server.faults(|faults| faults.short_watches = true);
    server.put(&service("b", "web"));
    let mut events = watch(&server, &path).await;
    assert_eq!(events.named().await, pair("ADDED", "b"));
    assert!(events.next().await.is_none());

    server.away();
    let refused = tokio::net::TcpStream::connect(server.address()).await;
    assert!(refused.is_err());
    server.back();
    assert_eq!(get(&server, SERVICES).await.code, 200);
    assert_eq!(server.requests("watch", "services"), 2);
    let none = || (server.watches("services") == 0).then_some(());
    let deadline = Instant::now() + Duration::from_secs(10);
    while none().is_none() {
        assert!(Instant::now() < deadline, "a watch is left");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(server.most_watches("services"), 1);
}

#[tokio::test]
async fn kinds_come_and_go() {
    let server = ApiServer::start(Options { gateway_api: false, ..Options::default() });
    let routes = "/apis/gateway.networking.k8s.io/v1/httproutes";
    assert_eq!(get(&server, routes).await.code, 404);
    server.install(Resource::gateway_api());
    let route = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "r", "namespace": "shop"}});
    server.put(&route);
    let path = format!("{routes}?watch=true&resourceVersion={}", server.version());
    let mut events = watch(&server, &path).await;
    server.withdraw("gateway.networking.k8s.io");
    assert_eq!(events.named().await, pair("DELETED", "r"));
    assert!(events.next().await.is_none());
    assert_eq!(get(&server, routes).await.code, 404);
}
