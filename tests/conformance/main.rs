//! The Gateway API's promises, told as cases (cases/*.yaml) and run end to end: see docs/conformance.md.
//!
//! A harness of its own: cases share meshes, which take longer to make than most cases to run. Each case is a
//! test to whoever counts. With `NODEWAY_CONFORMANCE=write` the page is written, otherwise it is compared.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests: the first surprise ends the test, with a message"
)]

mod case;
mod client;
mod itself;
mod judge;
mod kinds;
mod mesh;
mod page;
mod run;
mod status;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use nodeway_tests::skip;

use case::Case;
use mesh::Mesh;
use page::Catalogue;

/// So many meshes at a time: a case waits more than it works.
const MESHES: usize = 3;

fn main() -> ExitCode {
    let start = Instant::now();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let filter = filter(&args);
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance");
    let all = cases(&here);
    let catalogue = Catalogue::of(&read(&here.join("catalogue.yaml")));
    let wanted = |case: &&Case| filter.as_ref().is_none_or(|filter| case.case.contains(filter));
    let chosen: Vec<&Case> = all.iter().filter(wanted).collect();
    if args.iter().any(|arg| arg == "--list") {
        chosen.iter().for_each(|case| println!("{}: test", case.case));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} cases", chosen.len());
    if !chosen.is_empty()
        && let Some(missing) = skip::missing_privilege()
    {
        skip::skipped(&missing);
        return ExitCode::SUCCESS;
    }
    let Run { failed, told } = run_all(&chosen);
    let (mut passed, mut bad) = (chosen.len() - failed.len(), failed.len());
    let mut also = |name: &str, wrong: &[String]| {
        wrong.iter().for_each(|wrong| println!("    {wrong}"));
        report(name, wrong.is_empty());
        if wrong.is_empty() { passed += 1 } else { bad += 1 }
    };
    // A part of the cases says nothing about the whole.
    if filter.is_none() {
        also("every_expectation_can_fail", &itself::faults());
        also(
            "xmesh_tells_the_features_that_hold",
            &xmesh(&told, &catalogue.supported(&all, &failed)),
        );
        also("the_page_is_what_the_run_gives", &whole(&here, &catalogue, &all, &failed));
    }
    let result = if bad == 0 { "ok" } else { "FAILED" };
    let others = all.len() - chosen.len();
    println!(
        "\ntest result: {result}. {passed} passed; {bad} failed; 0 ignored; 0 measured; {others} filtered out; \
         finished in {:.2}s\n",
        start.elapsed().as_secs_f64()
    );
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The one argument that is no option.
fn filter(args: &[String]) -> Option<String> {
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--color" | "--test-threads" => drop(args.next()),
            arg if arg.starts_with('-') => {}
            arg => return Some(arg.to_owned()),
        }
    }
    None
}

/// Every case there is, in the order of the files.
fn cases(here: &Path) -> Vec<Case> {
    let files = std::fs::read_dir(here.join("cases")).expect("a folder of cases");
    let mut files: Vec<PathBuf> = files.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    let of = |file: &PathBuf| Case::all(&file.display().to_string(), &read(file));
    let all: Vec<Case> = files.iter().flat_map(of).collect();
    for (at, case) in all.iter().enumerate() {
        assert!(all[..at].iter().all(|other| other.case != case.case), "two are {}", case.case);
    }
    all
}

/// What has come of all cases.
struct Run {
    /// The names of those that failed.
    failed: Vec<String>,
    /// The features that XMesh tells.
    told: Vec<String>,
}

/// Runs them.
fn run_all(chosen: &[&Case]) -> Run {
    let queue: Mutex<VecDeque<&Case>> = Mutex::new(chosen.iter().copied().collect());
    let (failed, told) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..MESHES.min(chosen.len()) {
            scope.spawn(|| {
                let mut mesh: Option<Mesh> = None;
                loop {
                    let next = queue.lock().unwrap().pop_front();
                    let Some(case) = next else {
                        *told.lock().unwrap() =
                            mesh.map(|mesh| mesh.features()).unwrap_or_default();
                        break;
                    };
                    if !good(&mut mesh, case) {
                        failed.lock().unwrap().push(case.case.clone());
                    }
                }
            });
        }
    });
    Run { failed: failed.into_inner().unwrap(), told: told.into_inner().unwrap() }
}

/// Whether a case holds; says what is wrong with it.
fn good(mesh: &mut Option<Mesh>, case: &Case) -> bool {
    let wrong = catch_unwind(AssertUnwindSafe(|| {
        let mesh = mesh.get_or_insert_with(|| Mesh::new().expect("a mesh"));
        run::run(mesh, case)
    }));
    let wrong = wrong.unwrap_or_else(|_| {
        // What it has left behind is unknown.
        *mesh = None;
        vec!["it panicked: see above".to_owned()]
    });
    let told: String = wrong.iter().map(|wrong| format!("    {wrong}\n")).collect();
    print!("{told}");
    report(&case.case, wrong.is_empty());
    wrong.is_empty()
}

fn report(name: &str, good: bool) {
    println!("test {name} ... {}", if good { "ok" } else { "FAILED" });
}

/// Where what XMesh tells and what holds differ.
fn xmesh(told: &[String], holds: &[String]) -> Vec<String> {
    let not_in = |others: &[String], names: &[String], what: &str| -> Vec<String> {
        let missing = names.iter().filter(|name| !others.contains(name));
        missing.map(|name| format!("{name} {what}")).collect()
    };
    let mut wrong = not_in(told, holds, "holds, but XMesh does not tell it");
    wrong.extend(not_in(holds, told, "does not hold, but XMesh tells it"));
    wrong
}

/// What is wrong with the whole: catalogue and page.
fn whole(here: &Path, catalogue: &Catalogue, all: &[Case], failed: &[String]) -> Vec<String> {
    let mut wrong = catalogue.faults(all);
    let file = here.join("../../docs/conformance.md");
    let page = catalogue.page(all, failed);
    if std::env::var("NODEWAY_CONFORMANCE").is_ok_and(|value| value == "write") {
        std::fs::write(&file, page).expect("docs/conformance.md");
    } else if std::fs::read_to_string(&file).unwrap_or_default() != page {
        wrong.push(
            "docs/conformance.md is not what this run gives: `cargo xtask conformance`".to_owned(),
        );
    }
    wrong
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
