//! docs/conformance.md: which features of the Gateway API hold, by the cases that show them. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

use crate::case::Case;

/// What the Gateway API has, as far as a mesh may have it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Catalogue {
    features: Vec<Feature>,
    /// Tests of the Gateway API by short name: why it has no case here, or nothing if it has.
    tests: BTreeMap<String, Option<String>>,
}

/// A feature, by the Gateway API's name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Feature {
    name: String,
    channel: String,
    level: String,
    /// Whether the Gateway API has this name, so that XMesh may tell it.
    #[serde(default = "yes")]
    official: bool,
}

fn yes() -> bool {
    true
}

// === impl Catalogue ===

impl Catalogue {
    pub(crate) fn of(text: &str) -> Self {
        serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("catalogue.yaml: {error}"))
    }

    /// Where cases and catalogue disagree.
    pub(crate) fn faults(&self, cases: &[Case]) -> Vec<String> {
        let mut faults = Vec::new();
        for case in cases {
            for feature in case.features.iter().filter(|name| !self.has(name)) {
                faults.push(format!("{}: no feature {feature} in the catalogue", case.case));
            }
            for test in case.retells.iter().filter(|name| !self.tests.contains_key(*name)) {
                faults.push(format!("{}: no test {test} in the catalogue", case.case));
            }
        }
        for feature in &self.features {
            if of(cases, &feature.name).is_empty() {
                faults.push(format!("the feature {} has no case", feature.name));
            }
        }
        for (test, why) in &self.tests {
            let told = retelling(cases, test).next().is_some();
            if told == why.is_some() {
                let but =
                    if told { "has a case, and a reason to have none" } else { "has no case" };
                faults.push(format!("the test {test} {but}"));
            }
        }
        faults
    }

    fn has(&self, name: &str) -> bool {
        self.features.iter().any(|feature| feature.name == name)
    }

    /// Features of the Gateway API all of whose cases are good.
    pub(crate) fn supported(&self, cases: &[Case], failed: &[String]) -> Vec<String> {
        let good = |feature: &&Feature| {
            feature.official
                && of(cases, &feature.name).iter().all(|case| !failed.contains(&case.case))
        };
        let mut names: Vec<String> =
            self.features.iter().filter(good).map(|feature| feature.name.clone()).collect();
        names.sort();
        names
    }

    /// The whole page.
    pub(crate) fn page(&self, cases: &[Case], failed: &[String]) -> String {
        let mut page = String::from(HEAD);
        page += "| feature | channel | level | result | cases |\n| --- | --- | --- | --- | --- |\n";
        for Feature { name, channel, level, official } in &self.features {
            let cases = of(cases, name);
            let bad = cases.iter().filter(|case| failed.contains(&case.case)).count();
            let result = if bad == 0 { "passes".to_owned() } else { format!("{bad} fail") };
            let name = if *official { format!("`{name}`") } else { name.clone() };
            line(&mut page, &[&name, channel, level, &result, &cases.len().to_string()]);
        }
        page += CASES;
        page += "| case | features | result | retells |\n| --- | --- | --- | --- |\n";
        for case in cases {
            let result = if failed.contains(&case.case) { "fails" } else { "passes" };
            let name = case.case.replace('_', " ");
            line(&mut page, &[&name, &case.features.join(", "), result, &case.retells.join(", ")]);
        }
        page += NONE;
        page += "| test of the Gateway API | why it has no case |\n| --- | --- |\n";
        for (test, why) in &self.tests {
            if let Some(why) = why {
                line(&mut page, &[test, why]);
            }
        }
        page
    }
}

/// The cases that show a feature.
fn of<'a>(cases: &'a [Case], feature: &str) -> Vec<&'a Case> {
    cases.iter().filter(|case| case.features.iter().any(|name| name == feature)).collect()
}

fn retelling<'a>(cases: &'a [Case], test: &str) -> impl Iterator<Item = &'a Case> {
    cases.iter().filter(move |case| case.retells.iter().any(|name| name == test))
}

fn line(page: &mut String, cells: &[&str]) {
    writeln!(page, "| {} |", cells.join(" | ")).expect("a string takes it");
}

const HEAD: &str = "\
# Conformance with the Gateway API

This page is written by a run of the cases in `tests/conformance` (`cargo xtask conformance`), and
`cargo xtask test` fails if it is not what its own run gives. The cases tell the tests of the Gateway API
(v1.4 to main) in our own words: those for meshes, and those for gateways whose promises hold for a mesh as
well. Clients in pods ask through ClusterIPs, eBPF and all, and see what status says in the API. No case is
skipped.

## Features

By the names of the Gateway API, which `XMesh` tells too, as the run sees to; names without quotes are ours.

";

const CASES: &str = "\n## Cases\n\n";

const NONE: &str = "\n## Tests that have no case\n\n";
