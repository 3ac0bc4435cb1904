//! The cases are worth what their judges are: each kind of expectation is held against an answer that meets
//! it and one that does not.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::case::{Case, Conditions, Request};
use crate::{judge, run, status};

/// Expectations, each with what an answer is changed to so that it is no longer met.
const EXPECTATIONS: [(&str, &str, &str); 20] = [
    ("", "/status", "404"),
    ("status: 200", "/status", "404"),
    ("status: [200, 204]", "/status", "500"),
    ("pod: echo-v1", "/said/pod", "\"echo-v2\""),
    ("saw: {method: GET}", "/said/method", "\"POST\""),
    ("saw: {path: /a}", "/said/path", "\"/b\""),
    ("saw: {query: b=c}", "/said/query", "null"),
    ("saw: {protocol: HTTP/2.0}", "/said/protocol", "\"HTTP/1.1\""),
    ("saw: {host: echo}", "/said/headers/0/1", "\"other\""),
    ("saw: {headers: {x-a: '1,2'}}", "/said/headers/2/1", "\"3\""),
    ("saw: {absent: [x-b]}", "/said/headers/2/0", "\"X-B\""),
    ("headers: {x-set: [one, two]}", "/headers/0/1", "\"three\""),
    ("absent: [x-other]", "/headers/0/0", "\"x-other\""),
    ("seconds: [0.1, 0.5]", "/seconds", "0.6"),
    ("shares: {echo-v1: 1}", "/said/pod", "\"echo-v2\""),
    ("one_pod: true", "/said/pod", "\"\""),
    ("pod: echo-v1", "/error", "\"reset\""),
    ("cookie: {name: a}", "/headers/1/1", "\"b=1\""),
    ("cookie: {name: a, has: [Max-Age]}", "/headers/1/1", "\"a=1; Path=/\""),
    ("cookie: {name: a, lacks: [Expires]}", "/headers/1/1", "\"a=1; expires=never\""),
];

/// What is wrong with them.
pub(crate) fn faults() -> Vec<String> {
    let mut faults = Vec::new();
    let good = json!({"status": 200, "seconds": 0.2, "headers": [["x-set", "two"], ["set-cookie", "a=1; Max-Age=5"]],
        "error": null,
        "said": {"pod": "echo-v1", "method": "GET", "path": "/a", "query": "b=c", "protocol": "HTTP/2.0",
            "headers": [["host", "echo"], ["x-a", "1"], ["x-a", "2"]]}});
    for (expectation, place, value) in EXPECTATIONS {
        let mut bad = good.clone();
        *bad.pointer_mut(place).expect("a place in the answer") =
            serde_json::from_str(value).expect("a value");
        faults.extend(differ(expectation, "http", &good, &bad));
    }
    let cut = json!({"error": "reset"});
    faults.extend(differ("cut: true", "http", &cut, &good));
    faults.extend(differ("shares: {cut: 1}", "tcp", &cut, &json!({"pod": "echo-v1"})));
    let grpc = |code: &str| json!({"status": 200, "trailers": [["grpc-status", code]]});
    faults.extend(differ("grpc: 12", "grpc", &grpc("12"), &grpc("0")));
    faults.extend(differ("", "grpc", &grpc("0"), &json!({"status": 200})));
    faults.extend(conditions());
    faults.extend(seen());
    faults.extend(shares());
    faults
}

/// One request too few, or too many.
fn seen() -> Vec<String> {
    let judged = [
        ("1", 1, true),
        ("1", 0, false),
        ("1", 2, false),
        ("[1, 2]", 2, true),
        ("[1, 2]", 0, false),
        ("[1, 2]", 3, false),
    ];
    let wrong = judged.into_iter().filter(|(range, count, good)| {
        let request = request("http", &format!("seen: {{echo-v1: {range}, echo-v2: 0}}"));
        let counts = BTreeMap::from([("echo-v1".to_owned(), *count)]);
        judge::seen(&request.expect.seen, &counts).is_ok() != *good
    });
    wrong.map(|judged| format!("seen is not judged as it should be: {judged:?}")).collect()
}

/// A split that is right passes however chance falls, and one that is off by 8 of 100 does not.
fn shares() -> Vec<String> {
    const ROUNDS: usize = 50;
    let request = request("http", "shares: {echo-v1: 0.5, echo-v2: 0.5}");
    let pods = ["echo-v1", "echo-v2"].map(|pod| json!({"said": {"pod": pod}}));
    // Chance, but the same in every run: Knuth's MMIX.
    let mut state: u64 = 1;
    let mut passed = |per_mille: u64| {
        let mut sample = || {
            let draw = |_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005);
                state = state.wrapping_add(1_442_695_040_888_963_407);
                pods[usize::from((state >> 33) % 1000 >= per_mille)].clone()
            };
            let answers: Vec<Value> = (0..500).map(draw).collect();
            judge::answers(&request, &answers)
        };
        (0..ROUNDS).filter(|_| run::most(&mut sample).is_ok()).count()
    };
    let (right, off) = (passed(500), passed(580));
    let mut faults = Vec::new();
    // One request that nobody should have had is no chance.
    let mut others = vec![pods[0].clone(); 250];
    others.extend(vec![pods[1].clone(); 249]);
    others.push(json!({"said": {"pod": "echo-v3"}}));
    let mut rounds = 0;
    let mut sample = || {
        rounds += 1;
        judge::answers(&request, if rounds == 2 { &others } else { &others[..499] })
    };
    if run::most(&mut sample).is_ok() {
        faults.push("an answer of another pod is taken for chance".to_owned());
    }
    if right < ROUNDS {
        faults.push(format!("a split that is right passes {right} times of {ROUNDS}"));
    }
    if off > ROUNDS / 20 {
        faults.push(format!("a split that is off by 8 of 100 passes {off} times of {ROUNDS}"));
    }
    faults
}

/// A request that expects this.
fn request(by: &str, expectation: &str) -> Request {
    let text = format!(
        "[{{case: a, features: [], requests: [{{to: echo, as: {by}, expect: {{{expectation}}}}}]}}]"
    );
    Case::all(&text, &text)[0].requests[0].clone()
}

/// Whether the good one is judged good, and the bad one bad.
fn differ(expectation: &str, by: &str, good: &Value, bad: &Value) -> Vec<String> {
    let request = &request(by, expectation);
    let mut faults = Vec::new();
    if let Err(wrong) = judge::answers(request, std::slice::from_ref(good)) {
        faults.push(format!("{expectation}: a good answer is judged bad: {wrong:?}"));
    }
    if judge::answers(request, std::slice::from_ref(bad)).is_ok() {
        faults.push(format!("{expectation}: a bad answer is judged good: {bad}"));
    }
    faults
}

fn conditions() -> Vec<String> {
    let said = |status: &str, reason: &str, generation: u64| {
        json!({"kind": "HTTPRoute", "metadata": {"name": "a", "generation": 2},
            "spec": {"parentRefs": [{"name": "echo"}]},
            "status": {"parents": [{"controllerName": "nodeway.dev/mesh-controller", "parentRef": {"name": "echo"},
                "conditions": [{"type": "Accepted", "status": status, "reason": reason,
                        "observedGeneration": generation},
                    {"type": "ResolvedRefs", "status": "True", "reason": "ResolvedRefs",
                        "observedGeneration": 2}]}]}})
    };
    let usual = Conditions::new();
    let mut nobody = said("True", "Accepted", 2);
    nobody["status"]["parents"][0]["controllerName"] = json!("example.org/other");
    let judged = [
        (said("True", "Accepted", 2), true),
        (said("False", "Accepted", 2), false),
        (said("True", "Other", 2), false),
        (said("True", "Accepted", 1), false),
        (nobody, false),
    ];
    let wrong =
        judged.iter().filter(|(object, good)| status::judge(object, &usual).is_ok() != *good);
    wrong.map(|(object, good)| format!("status is not judged {good}: {object}")).collect()
}
