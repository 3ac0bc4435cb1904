//! How a case is run: put its objects, wait until status is as it is to be, ask, and take all away.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::case::{Case, Expect, Request, Step};
use crate::mesh::Mesh;
use crate::{judge, kinds, status};

/// How long it may take until what is asked for is in force.
const SOON: Duration = Duration::from_secs(5);
/// How often we look.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Shares are chance: what is off once in a hundred times may be off, but not so many times in a row.
const SAMPLES: usize = 4;
/// An answer that is right has to be so again, or it may have been luck.
const IN_A_ROW: usize = 3;

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
    wrong.extend(within(SOON, 1, told).err());
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

/// Until it holds, or the time is over and it was looked at so often: what is wrong then.
fn within(
    limit: Duration,
    least: usize,
    mut holds: impl FnMut() -> Result<(), String>,
) -> Result<(), String> {
    let (deadline, mut looks) = (Instant::now() + limit, 0);
    loop {
        let found = holds();
        looks += 1;
        if found.is_ok() || (looks >= least && Instant::now() >= deadline) {
            return found;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn ask(mesh: &mut Mesh, case: &Case, request: &Request, limit: Duration) -> Result<(), String> {
    let Expect { seen, seconds, .. } = &request.expect;
    let is_once = request.times > 1 || !seen.is_empty() || seconds.is_some();
    let in_a_row = if is_once { 1 } else { IN_A_ROW };
    let mut right = 0;
    let samples = if request.times > 1 && !limit.is_zero() { SAMPLES } else { 1 };
    within(limit, samples, || {
        while right < in_a_row {
            if let Err(wrong) = ask_once(mesh, case, request) {
                right = 0;
                return Err(wrong);
            }
            right += 1;
        }
        Ok(())
    })
}

fn ask_once(mesh: &mut Mesh, case: &Case, request: &Request) -> Result<(), String> {
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
    // What does not answer us may be reached a little later.
    within(Duration::from_secs(1), 1, || {
        request.expect.seen.iter().try_for_each(|(pod, range)| {
            let seen = mesh.seen(pod, &id);
            match range.contains(seen) {
                true => Ok(()),
                false => Err(format!("{pod} has seen {seen} requests, not {range:?}")),
            }
        })
    })
}
