//! What a request tells the server to do, in its own headers, and the record of requests that belong to
//! a conformance case: a line of JSON each on standard output.
//!
//! `x-case: ID` puts a request on record. `x-answer: 503*2` has the first two requests of the case answered
//! by this status, `x-answer: reset*1` has the first one's connection dropped; `x-delay: 700*1` keeps the
//! first one's answer back for 700 ms. Without `*N` it is so for all of them.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use hyper::{HeaderMap, StatusCode};

/// What is to be done with this request, before anything else.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) delay: Option<Duration>,
    pub(crate) answer: Option<Answer>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Status(StatusCode),
    Reset,
}

/// By the request's headers, if it belongs to a case; counts it.
pub(crate) fn told(headers: &HeaderMap) -> Option<Told> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let case = text("x-case")?;
    static SEEN: OnceLock<Mutex<HashMap<String, u32>>> = OnceLock::new();
    let nth = {
        let mut seen = SEEN.get_or_init(Mutex::default).lock().ok()?;
        let count = seen.entry(case.to_owned()).or_default();
        *count += 1;
        *count
    };
    let now = |name: &str| {
        let value = text(name)?;
        match value.split_once('*') {
            None => Some(value),
            Some((what, times)) => (nth <= times.parse().unwrap_or(0)).then_some(what),
        }
    };
    let delay = now("x-delay").and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
    let answer = now("x-answer").and_then(|what| match what {
        "reset" => Some(Answer::Reset),
        status => status.parse().ok().map(Answer::Status),
    });
    Some(Told { delay, answer })
}

/// Puts a request on record, if it belongs to a case.
pub(crate) fn record(headers: &HeaderMap, description: &str) {
    if headers.contains_key("x-case") {
        println!("{description}");
    }
}
