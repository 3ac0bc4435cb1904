//! Whether what came is what was to come. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::case::{Any, By, Cookie, Expect, Range, Request, Saw};

/// A share may be off by so much.
const SHARE: f64 = 0.05 + 1e-9;

/// What is wrong.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// Once is once too often.
    Surely(String),
    /// It may be so now and then.
    ByChance(String),
}

/// All answers to a request; what is wrong, if anything is.
pub(crate) fn answers(request: &Request, answers: &[Value]) -> Result<(), Wrong> {
    let expect = &request.expect;
    for answer in answers {
        one(request, answer).map_err(|wrong| format!("{wrong}; it was {}", shortened(answer)))?;
    }
    let pods: Vec<&str> = answers.iter().map(pod).collect();
    if expect.one_pod && pods.iter().any(|pod| *pod != pods[0] || pod.is_empty()) {
        return Err(format!("not one pod for all: {pods:?}").into());
    }
    shares(expect, answers)
}

fn one(request: &Request, answer: &Value) -> Result<(), String> {
    let expect = &request.expect;
    if let Some(error) = answer["error"].as_str() {
        let fine = (expect.cut || expect.shares.contains_key("cut"))
            && !error.starts_with("no answer within");
        return if fine { Ok(()) } else { Err(error.to_owned()) };
    }
    if expect.cut {
        return Err("an answer, where the connection was to be cut".to_owned());
    }
    if request.by != By::Tcp && expect.shares.is_empty() {
        status(expect, answer)?;
    }
    if request.by == By::Grpc && expect.shares.is_empty() {
        grpc(expect, answer)?;
    }
    if let Some(expected) = &expect.pod {
        same("the pod that answers", expected, pod(answer))?;
    }
    for (name, values) in &expect.headers {
        let found = header(&answer["headers"], name);
        let plain = |text: &str| text.replace(' ', "");
        if !values.all().iter().any(|value| found.as_deref().map(plain) == Some(plain(value))) {
            return Err(format!("the header {name} is {found:?}, not {:?}", values.all()));
        }
    }
    for name in &expect.absent {
        if let Some(found) = header(&answer["headers"], name) {
            return Err(format!("there is a header {name}: {found}"));
        }
    }
    if let Some(expected) = &expect.cookie {
        cookie(expected, &answer["headers"])?;
    }
    if let Some(seconds) = expect.seconds
        && !seconds.contains(answer["seconds"].as_f64().unwrap_or(0.0))
    {
        return Err(format!("it took {} s, not {seconds:?}", answer["seconds"]));
    }
    expect.saw.as_ref().map_or(Ok(()), |expected| saw(expected, &answer["said"]))
}

fn status(expect: &Expect, answer: &Value) -> Result<(), String> {
    let usual = Any::One(200);
    let expected = match expect.status.all() {
        [] => usual.all(),
        some => some,
    };
    let found = answer["status"].as_u64().unwrap_or(0);
    match expected.iter().any(|status| u64::from(*status) == found) {
        true => Ok(()),
        false => Err(format!("the status is {found}, not {expected:?}")),
    }
}

fn grpc(expect: &Expect, answer: &Value) -> Result<(), String> {
    let found = header(&answer["trailers"], "grpc-status");
    // An answer of trailers alone has them in its head.
    let found = found.or_else(|| header(&answer["headers"], "grpc-status"));
    let expected = expect.grpc.unwrap_or(0).to_string();
    same("grpc-status", &expected, found.as_deref().unwrap_or("missing"))
}

/// How many requests have reached each pod.
pub(crate) fn seen(
    expected: &BTreeMap<String, Range<usize>>,
    counts: &BTreeMap<String, usize>,
) -> Result<(), Wrong> {
    let mut by_chance = Ok(());
    for (pod, range) in expected {
        let seen = counts.get(pod).copied().unwrap_or(0);
        if range.contains(seen) {
            continue;
        }
        let wrong = format!("{pod} has seen {seen} requests, not {range:?}");
        match range {
            Range::Just(_) => return Err(Wrong::Surely(wrong)),
            Range::From(_) => by_chance = Err(Wrong::ByChance(wrong)),
        }
    }
    by_chance
}

/// What the pod saw.
pub(crate) fn saw(expected: &Saw, said: &Value) -> Result<(), String> {
    for (what, expected) in [
        ("method", &expected.method),
        ("path", &expected.path),
        ("query", &expected.query),
        ("protocol", &expected.protocol),
    ] {
        if let Some(expected) = expected {
            same(&format!("the {what} that it saw"), expected, text(&said[what]))?;
        }
    }
    if let Some(expected) = &expected.host {
        let host = header(&said["headers"], "host");
        let host = host.unwrap_or_else(|| text(&said["authority"]).to_owned());
        same("the host that it saw", expected, &host)?;
    }
    for (name, expected) in &expected.headers {
        let found = header(&said["headers"], name).unwrap_or_default();
        same(&format!("the header {name} that it saw"), expected, &found)?;
    }
    for name in &expected.absent {
        if let Some(found) = header(&said["headers"], name) {
            return Err(format!("it saw a header {name}: {found}"));
        }
    }
    Ok(())
}

fn cookie(expected: &Cookie, headers: &Value) -> Result<(), String> {
    let Cookie { name, has, lacks } = expected;
    let set = headers.as_array().into_iter().flatten().filter(|pair| pair[0] == "set-cookie");
    let set = set.map(|pair| text(&pair[1])).find_map(|set| set.strip_prefix(&format!("{name}=")));
    let set = set.ok_or_else(|| format!("no cookie {name} is set"))?;
    let attribute = |wanted: &String| {
        let mut attributes = set.split(';').skip(1);
        attributes.any(|it| it.trim().split('=').next().unwrap_or("").eq_ignore_ascii_case(wanted))
    };
    if set.split(';').next().is_none_or(str::is_empty) || !has.iter().all(attribute) {
        return Err(format!("the cookie {name} has not {has:?}: {set}"));
    }
    match lacks.iter().any(attribute) {
        true => Err(format!("the cookie {name} has one of {lacks:?}: {set}")),
        false => Ok(()),
    }
}

fn shares(expect: &Expect, answers: &[Value]) -> Result<(), Wrong> {
    if expect.shares.is_empty() {
        return Ok(());
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for answer in answers {
        *counts.entry(who(answer)).or_default() += 1;
    }
    // Numbers of requests are small.
    #[allow(clippy::cast_precision_loss, reason = "some hundred answers")]
    let share = |who: &str| *counts.get(who).unwrap_or(&0) as f64 / answers.len() as f64;
    let wrong = || format!("shares are {counts:?}, not {:?}", expect.shares);
    // No weight is no request at all.
    let may = |who: &String| expect.shares.get(who).is_some_and(|share| *share > 0.0);
    if !counts.keys().all(may) {
        return Err(Wrong::Surely(wrong()));
    }
    let off = expect.shares.iter().any(|(who, expected)| (share(who) - expected).abs() > SHARE);
    if off { Err(Wrong::ByChance(wrong())) } else { Ok(()) }
}

/// The pod that answered, or the status of an answer that is nobody's.
fn who(answer: &Value) -> String {
    if answer["error"].is_string() {
        return "cut".to_owned();
    }
    match pod(answer) {
        "" => answer["status"].to_string(),
        pod => pod.to_owned(),
    }
}

fn pod(answer: &Value) -> &str {
    let said = text(&answer["said"]["pod"]);
    // Answers that are no description carry it too.
    let header = || {
        let headers = answer["headers"].as_array()?;
        headers.iter().find(|pair| pair[0] == "x-pod")?[1].as_str()
    };
    let plain = || answer["pod"].as_str();
    if said.is_empty() { header().or_else(plain).unwrap_or_default() } else { said }
}

/// All values of a header, with commas between.
fn header(pairs: &Value, name: &str) -> Option<String> {
    let pairs = pairs.as_array()?.iter();
    let is = |pair: &&Value| text(&pair[0]).eq_ignore_ascii_case(name);
    let values: Vec<&str> = pairs.filter(is).map(|pair| text(&pair[1])).collect();
    (!values.is_empty()).then(|| values.join(","))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn same(what: &str, expected: &str, found: &str) -> Result<(), String> {
    match expected == found {
        true => Ok(()),
        false => Err(format!("{what} is {found:?}, not {expected:?}")),
    }
}

fn shortened(answer: &Value) -> String {
    let mut text = answer.to_string();
    if text.len() > 1200 {
        text.truncate((0..=1200).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0));
    }
    text
}

// === impl Wrong ===

impl Wrong {
    pub(crate) fn into_text(self) -> String {
        match self {
            Self::Surely(wrong) | Self::ByChance(wrong) => wrong,
        }
    }
}

impl From<String> for Wrong {
    fn from(wrong: String) -> Self {
        Self::Surely(wrong)
    }
}
