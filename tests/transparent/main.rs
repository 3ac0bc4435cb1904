//! `cargo xtask bench transparent`: from pod to pod through a Service's address, with nothing in between, by
//! Nodeway, and by a pair of Envoy sidecars.
//!
//! Figures and a plot, not a test: what misses its goal is marked, and nothing else depends on it.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a bench: the first surprise ends it, with a message"
)]

#[path = "../../xtask/src/bench/bars.rs"]
mod bars;
mod cpu;
#[path = "../../xtask/src/bench/figures.rs"]
mod figures;
mod load;
mod page;
#[path = "../../xtask/src/bench/parse.rs"]
mod parse;
mod scenes;
mod sidecars;
mod way;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use nodeway_tests::{janitor, skip};

use load::{Load, Sample};
use page::Page;
use scenes::Scenes;
use way::Way;

const USAGE: &str = "usage: transparent [--fewer-ways] [--rounds N] [--seconds N] [--write FOLDER]";
/// For all that is no load: more is a fault.
const BESIDE: Duration = Duration::from_secs(120);

struct Plan {
    /// Without those that only tell what acceleration does.
    fewer: bool,
    rounds: u32,
    seconds: u32,
    write: Option<PathBuf>,
}

fn main() -> ExitCode {
    let plan = match Plan::of(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(what) => {
            eprintln!("{what}? {USAGE}");
            return ExitCode::FAILURE;
        }
    };
    if let Some(missing) = skip::missing_privilege() {
        eprintln!("error: this bench needs {missing}");
        return ExitCode::FAILURE;
    }
    let ways = Way::all(plan.fewer);
    let most = plan.at_most(ways.len());
    std::thread::spawn(move || {
        std::thread::sleep(most);
        eprintln!("error: not done within {most:?}");
        janitor::remove_owned_by(std::process::id());
        std::process::exit(1);
    });
    eprintln!("==> Making pods, and what is between them");
    let scenes = Scenes::make(&ways);
    let samples = measure(&plan, &scenes);
    let page = Page {
        rounds: plan.rounds,
        seconds: plan.seconds,
        samples: &samples,
        accelerates: scenes.accelerates(),
    };
    println!("\n{}", page.text());
    if let Some(folder) = &plan.write {
        page.write(folder);
    }
    let failed: u64 = samples.iter().map(|sample| sample.measure.failed).sum();
    if failed > 0 {
        eprintln!("error: {failed} requests failed: these figures are no basis for a comparison");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Each round begins with another way: what warms up or heats up then hits all alike.
fn measure(plan: &Plan, scenes: &Scenes) -> Vec<Sample> {
    let mut samples = Vec::new();
    for load in Load::ALL {
        eprintln!("==> {}, {} rounds", load.title(), plan.rounds);
        let mut order = scenes.ways();
        for round in 0..plan.rounds {
            for way in &order {
                let scene = scenes.of(*way);
                if round == 0 && plan.seconds > 1 {
                    load.run(scene, 1);
                }
                let sample = load.run(scene, plan.seconds);
                eprintln!("    {}", sample.progress());
                samples.push(sample);
            }
            order.rotate_left(1);
        }
    }
    samples
}

// === impl Plan ===

impl Plan {
    fn of(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut plan = Self { fewer: false, rounds: 5, seconds: 5, write: None };
        while let Some(argument) = arguments.next() {
            if argument == "--fewer-ways" {
                plan.fewer = true;
                continue;
            }
            let value = arguments.next().ok_or_else(|| argument.clone())?;
            let number = || value.parse().map_err(|_| format!("{argument} {value}"));
            match argument.as_str() {
                "--rounds" => plan.rounds = number()?,
                "--seconds" => plan.seconds = number()?,
                "--write" => plan.write = Some(value.into()),
                _ => return Err(argument),
            }
        }
        Ok(plan)
    }

    fn at_most(&self, ways: usize) -> Duration {
        let runs = u32::try_from(ways * Load::ALL.len()).expect("few") * (self.rounds + 1);
        // What a generator takes to begin and to sum up.
        BESIDE + runs * Duration::from_secs(u64::from(self.seconds) + 3)
    }
}
