//! How a case is run: put its objects, wait until status is as it is to be, ask, and take all away.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nodeway_tests::wait::settled;
use serde_json::{Value, json};

use crate::case::{Case, Request, Step};
use crate::judge::Wrong;
use crate::mesh::Mesh;
use crate::{judge, kinds, status};

/// How long it may take until what is asked for is in force.
const SOON: Duration = Duration::from_secs(10);
/// How often we look.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// An answer that is right has to be so again, or it may have been luck.
const IN_A_ROW: usize = 3;
/// Shares are chance: a right one is off in a few samples of a hundred, so that most of so many have to be good.
/// One that is off by 8 of 100 has most of them bad: see `itself`.
const SAMPLES: usize = 5;
/// Requests in a sample of shares, at least.
const SAMPLE: usize = 500;
/// Who has seen what is told when it has not changed for so long: one request more may be on its way.
const QUIET: Duration = Duration::from_millis(150);

/// All that is wrong.
pub(crate) fn run(mesh: &mut Mesh, case: &Case) -> Vec<String> {
    let mut there: BTreeMap<String, Value> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (number, step) in case.steps().iter().enumerate() {
        let found = one_step(mesh, case, step, &mut there);
        let step = if number == 0 { String::new() } else { format!("step {}: ", number + 1) };
        wrong.extend(found.into_iter().map(|wrong| format!("{step}{wrong}")));
        if !wrong.is_empty() {
            break;
        }
    }
    // Routes go before what they lead to.
    for manifest in there.values().rev() {
        mesh.remove(manifest);
    }
    wrong
}

fn one_step(
    mesh: &mut Mesh,
    case: &Case,
    step: &Step,
    there: &mut BTreeMap<String, Value>,
) -> Vec<String> {
    for title in &step.without {
        let manifest = there.remove(title);
        mesh.remove(&manifest.unwrap_or_else(|| panic!("{}: no {title}", case.case)));
    }
    for manifest in &step.manifests {
        mesh.put(manifest);
        there.insert(kinds::title(manifest), manifest.clone());
    }
    let mut wrong = Vec::new();
    let told = || {
        there.values().try_for_each(|manifest| {
            let object = kinds::completed(manifest, crate::mesh::NAMESPACE);
            let object = mesh.get(&object).ok_or("an object is gone")?;
            status::judge(&object, &step.conditions)
        })
    };
    wrong.extend(within(SOON, told).err());
    // Not all that changes stands in status.
    mesh.settle();
    for (number, request) in step.requests.iter().enumerate() {
        // What is in force late has had its time.
        let limit = if wrong.is_empty() { SOON } else { Duration::ZERO };
        let asked = ask(mesh, case, request, limit);
        wrong.extend(asked.err().map(|wrong| {
            format!("request {} ({} of {}): {wrong}", number + 1, request.ask, request.to)
        }));
    }
    wrong
}

/// Until it holds, or the time is over: what is wrong then.
fn within<E>(limit: Duration, mut holds: impl FnMut() -> Result<(), E>) -> Result<(), E> {
    let deadline = Instant::now() + limit;
    loop {
        let found = holds();
        if found.is_ok() || Instant::now() >= deadline {
            return found;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// What is wrong until the first good answer is of what was before; after that, nothing may be.
fn ask(mesh: &mut Mesh, case: &Case, request: &Request, limit: Duration) -> Result<(), String> {
    let is_chance = request.is_chance();
    if is_chance && request.times < SAMPLE {
        return Err(format!("{} requests are too few for shares: {SAMPLE}", request.times));
    }
    let mut look = || ask_once(mesh, case, request);
    within(limit, &mut look).map_err(Wrong::into_text)?;
    if is_chance {
        return most(look);
    }
    (0..IN_A_ROW).try_for_each(|_| look().map_err(Wrong::into_text))
}

/// Whether most samples are good; takes no more than that needs. What is wrong for sure is so at once.
pub(crate) fn most(mut sample: impl FnMut() -> Result<(), Wrong>) -> Result<(), String> {
    let (mut good, mut bad) = (0, Vec::new());
    loop {
        match sample() {
            Ok(()) => good += 1,
            Err(Wrong::ByChance(wrong)) => bad.push(wrong),
            Err(Wrong::Surely(wrong)) => return Err(wrong),
        }
        if good > SAMPLES / 2 {
            return Ok(());
        }
        if bad.len() > SAMPLES / 2 {
            return Err(bad.join("; and again: "));
        }
    }
}

fn ask_once(mesh: &mut Mesh, case: &Case, request: &Request) -> Result<(), Wrong> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let id = format!("{}-{}", case.case, COUNT.fetch_add(1, Ordering::Relaxed));
    let (method, path) = request.method_and_path();
    let mut headers: Vec<[&str; 2]> = vec![["x-case", &id]];
    headers.extend(request.headers.iter().map(|(name, value)| [&**name, &**value]));
    let to = mesh.resolve(&request.to);
    let question = json!({
        "to": to.to_string(),
        "as": request.by.name(),
        "method": method,
        "path": path,
        "host": request.host.as_ref().unwrap_or(&request.to),
        "headers": headers,
        "sni": request.sni,
        "times": request.times,
        "again": if request.again { "same" } else { "new" },
        "carry": request.carry,
    });
    let answers = mesh.ask(&request.from, &question);
    judge::answers(request, &answers)?;
    let seen = &request.expect.seen;
    if seen.is_empty() {
        return Ok(());
    }
    // What does not answer us may be reached a little later; and what should not be there, too.
    let mut counts = || -> BTreeMap<String, usize> {
        seen.keys().map(|pod| (pod.clone(), mesh.seen(pod, &id))).collect()
    };
    within(Duration::from_secs(1), || judge::seen(seen, &counts())).ok();
    judge::seen(seen, &settled(SOON, QUIET, counts))
}
