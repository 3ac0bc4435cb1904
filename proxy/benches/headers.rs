//! What a request's head costs between its parser and its writer: looked at, freed of what ends at this hop,
//! changed by a filter, brought into the other version of HTTP.
//!
//! Not parsing and writing themselves: those are hyper's and ours elsewhere.
#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, reason = "a bench may stop at the first surprise")]

#[path = "../src/serve/http/headers.rs"]
#[allow(dead_code, unreachable_pub, reason = "what requests need besides")]
mod headers;
#[path = "../src/serve/http/wellformed.rs"]
#[allow(dead_code, unreachable_pub, reason = "what requests need besides")]
mod wellformed;

/// As the two modules name it.
mod upstream {
    pub(crate) use nodeway::upstream::Version;
}

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{HeaderName, HeaderValue, Request};
use nodeway_core::model::HeaderModifier;
use upstream::Version;

/// As a browser sends it.
const FIELDS: [(&str, &str); 12] = [
    ("host", "web.shop.svc.cluster.local"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en-GB,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br"),
    ("connection", "keep-alive"),
    ("keep-alive", "timeout=5"),
    ("te", "trailers"),
    ("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark"),
    ("x-request-id", "0123456789abcdef0123456789"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("if-none-match", "\"0123456789abcdef\""),
];

fn browsers() -> Request<()> {
    let request = Request::get("/api/v1/items/7?q=1");
    FIELDS.into_iter().fold(request, |all, (name, value)| all.header(name, value)).body(()).unwrap()
}

/// As curl and many a program send it.
fn few() -> Request<()> {
    let request = Request::get("/").header("host", "web").header("accept", "*/*");
    request.header("user-agent", "curl/8.5.0").body(()).unwrap()
}

fn filter() -> HeaderModifier {
    let (name, value) = (HeaderName::from_static, HeaderValue::from_static);
    HeaderModifier {
        set: vec![(name("x-team"), value("shop"))],
        add: vec![(name("x-from"), value("mesh"))],
        remove: vec![name("x-request-id")],
    }
}

fn passes(c: &mut Criterion) {
    for (what, request) in [("3 fields", few as fn() -> Request<()>), ("12 fields", browsers)] {
        for (whither, to) in [("HTTP/1.1", Version::Http1), ("HTTP/2", Version::Http2)] {
            c.bench_function(&format!("head of {what} to {whither}"), |b| {
                let pass = |mut request: Request<()>| {
                    assert!(wellformed::fault(&request, Version::Http1).is_none());
                    headers::strip_hop_by_hop(request.headers_mut(), false);
                    headers::translate(&mut request, Version::Http1, to);
                    request
                };
                b.iter_batched(request, |request| black_box(pass(request)), BatchSize::SmallInput);
            });
        }
        let filter = filter();
        c.bench_function(&format!("filter of headers, {what}"), |b| {
            let pass = |mut request: Request<()>| {
                filter.apply(request.headers_mut());
                request
            };
            b.iter_batched(request, |request| black_box(pass(request)), BatchSize::SmallInput);
        });
    }
}

criterion_group!(benches, passes);
criterion_main!(benches);
