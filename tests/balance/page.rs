//! The page of results, for people and for docs/benchmarks.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use crate::curve::Of;
use crate::simulated::{Row, Simulated};
use crate::sockets::{self, Run, Sockets};

/// Peak-EWMA's p99 with the slow server is to be within this many times that without it.
const GOAL: f64 = 1.3;

/// All of it, in Markdown.
pub(crate) fn page(simulated: &Simulated, sockets: &Sockets) -> String {
    let mut page = String::from(
        "# Balancing\n\nWritten by `cargo xtask bench balance --write`: how long requests take under each \
         algorithm, in a simulation and on sockets.\n\n\
         ![Latency by the share of requests that took no longer](balance.svg)\n",
    );
    simulation(&mut page, simulated);
    even(&mut page, simulated);
    real(&mut page, sockets);
    page
}

fn simulation(page: &mut String, simulated: &Simulated) {
    page.push_str(
        "\n## Simulated\n\nDiscrete events, a made clock, real `Backend`s: four nodes ask ten servers of four \
         slots each; a request takes 10 ms on average (lognormal, p99 34 ms), 2 000 come a second at \
         random. Figures in ms, the same on every machine; the scenarios stand in \
         `proxy/core/tests/simulation`. \"Most\" is what the busiest server got, as a multiple of an \
         even share; \"odd\" the share of the one that the scenario is about.\n\n\
         | scenario | algorithm | p50 | p99 | p99.9 | p99 to that without | most | odd | errors |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    let mut without = None;
    for row in &simulated.rows {
        let [p50, p99, p999] = row.quantiles();
        let (most, odd) = row.shares();
        let ratio = match row.of {
            Of::Without => {
                without = Some((row.scenario, p99));
                String::new()
            }
            Of::With(_) => ratio(without.filter(|(of, _)| *of == row.scenario).map(|w| w.1), p99),
        };
        let odd = if has_odd(row) { percent(odd) } else { String::new() };
        writeln!(
            page,
            "| {} | {} | {} | {} | {} | {ratio} | {most:.2} | {odd} | {} |",
            row.scenario.title(),
            row.of.title(),
            ms(p50),
            ms(p99),
            ms(p999),
            percent(row.outcome.errors() as f64 / row.outcome.requests().max(1) as f64),
        )
        .unwrap();
    }
}

fn has_odd(row: &Row) -> bool {
    row.scenario.has_an_odd_one() && row.of != Of::Without
}

fn even(page: &mut String, simulated: &Simulated) {
    page.push_str(
        "\n## How even\n\n100 000 requests for ten endpoints; the figure is how far the endpoint with most \
         or least is from a tenth. Of consistent hashes also how many keys another endpoint gets when \
         one of ten goes, beyond the tenth that have to.\n\n\
         | algorithm | off by | goal | moved without need |\n| --- | --- | --- | --- |\n",
    );
    for spread in &simulated.spreads {
        let goal = spread.goal.map_or_else(String::new, |goal| {
            let missed = if spread.off <= goal { "" } else { " **missed**" };
            format!("{}{missed}", percent(goal))
        });
        let moved = spread.moved.map_or_else(String::new, percent);
        writeln!(page, "| {} | {} | {goal} | {moved} |", spread.what, percent(spread.off)).unwrap();
    }
}

fn real(page: &mut String, sockets: &Sockets) {
    writeln!(
        page,
        "\n## On sockets\n\nA real Nodeway (two workers, plain listeners, a Service and a BackendPolicy for each \
         algorithm) between ten servers on loopback that take 10 ms on average, one of them 200 ms, \
         and {} requests a second at random, whether or not those before them are answered: latency \
         counts from when a request was due. In turns of some seconds. {}\n\n\
         | | requests | p50 | p99 | p99.9 | p99 to that without | slow one | failed | sent late by |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        sockets::RATE,
        machine(),
    )
    .unwrap();
    let without = sockets.runs.iter().find(|run| run.curve.of == Of::Without);
    let without = without.map(|run| run.curve.quantile(0.99));
    for Run { curve, failed, slow, late } in &sockets.runs {
        let p99 = curve.quantile(0.99);
        let (ratio, slow) = match curve.of {
            Of::Without => Default::default(),
            Of::With(_) => (ratio(without, p99), percent(*slow)),
        };
        writeln!(
            page,
            "| {} | {} | {} | {} | {} | {ratio} | {slow} | {failed} | {} |",
            curve.of.title(),
            curve.requests(),
            ms(curve.quantile(0.5)),
            ms(p99),
            ms(curve.quantile(0.999)),
            ms(*late),
        )
        .unwrap();
    }
    writeln!(
        page,
        "\nThe goal is that peak-EWMA's p99 is within {GOAL} x that without the slow server."
    )
    .unwrap();
}

fn ratio(without: Option<Duration>, p99: Duration) -> String {
    without.map_or_else(String::new, |without| {
        format!("{:.2} x", p99.as_secs_f64() / without.as_secs_f64().max(1e-9))
    })
}

fn ms(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e3)
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// What it ran on.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("of an unknown model", |(_, model)| model);
    format!("On {cores} cores ({model}), shared with the servers and the load.")
}
