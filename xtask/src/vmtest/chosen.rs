//! Which tests run on the other kernel: of those that go through eBPF all but those with a reason.
//!
//! Not for skipping at run time: what is here has to run.

use anyhow::{Result, bail};

/// Of the end-to-end tests, by how their names begin. The others' requests never go through eBPF.
pub(super) const E2E: [&str; 25] = [
    "acceleration::a_kernel_that_gets_anything_wrong_is_not_used_and_that_is_told",
    "acceleration::an_app_that_is_not_read_from_has_to_wait_and_loses_nothing",
    "acceleration::options_that_cannot_be_lived_up_to_are_refused_and_others_are_not",
    "backend_tls::a_pods_plain_requests_leave_it_in_tls",
    "capabilities::",
    "cleanup::",
    "cluster::enrolment::",
    "enrolment::",
    "fail_policy::",
    "failures::pods::",
    "health::a_killed_dual_stack_endpoint_costs_no_request",
    "health::a_killed_endpoint_costs_no_request",
    "health_checks::a_pod_that_may_not_reach_an_endpoint_does_not_make_it_ill_for_another_pod",
    "health_checks::checks_come_from_the_pods_that_use_the_backend",
    "l4_kernel::",
    "l4_routes::connections_are_split_by_weight_through_ebpf",
    "l4_routes::tls_goes_to_the_server_that_is_named_and_is_not_opened",
    "observability::",
    "peername::",
    "support_itself::",
    "takeover::a_predecessor_that_is_killed_leaves_nothing_to_its_successor",
    "takeover::a_successor_that_",
    "takeover::a_third_one_is_refused_and_without_anybody_a_takeover_is_a_start",
    "takeover::pins_that_somebody_removes_are_made_again",
    "transparency::",
];

/// Those that go through eBPF and are left out.
#[cfg(test)]
const LEFT_OUT: [(&str, &str); 9] = [
    (
        "acceleration::http_and_streams_skip_the_loopback_stack",
        "moves tens of megabytes, which an emulator does octet by octet",
    ),
    (
        "acceleration::mixed_traffic_with_half_closes_and_kills_stalls_nowhere_and_gets_no_octet_wrong",
        "a load of twenty seconds",
    ),
    ("bodies::", "moves gigabytes, which an emulator does octet by octet"),
    ("cluster::churn::", "a load of many pods, for as long as they come and go"),
    (
        "cluster::outage::",
        "a load for as long as the API server is away; the kernel has no part in it",
    ),
    ("cluster::rollout::", "a load of 64 connections"),
    ("cluster::status::", "what the API is told; the kernel has no part in it"),
    ("idle::", "measures time and memory, of which an emulated machine tells nothing"),
    ("takeover::a_takeover_costs_no_request", "a load for as long as the takeover takes"),
];

/// Of the tests of interception by itself: all.
pub(super) const INTERCEPT: [&str; 1] = [""];

/// What of `tests` begins with one of `beginnings`, or has `filter` in its name if there is one. A beginning that no
/// test has is an error: a test that was renamed would be gone from here without a word.
pub(super) fn of(
    tests: &[String],
    beginnings: &[&str],
    filter: Option<&str>,
) -> Result<Vec<String>> {
    if let Some(part) = filter {
        return Ok(tests.iter().filter(|name| name.contains(part)).cloned().collect());
    }
    let begins = |with: &str| tests.iter().any(|name| name.starts_with(with));
    if let Some(none) = beginnings.iter().find(|with| !begins(with)) {
        bail!(
            "no test begins with `{none}`, which xtask/src/vmtest/chosen.rs has among those to run"
        );
    }
    let chosen = |name: &&String| beginnings.iter().any(|with| name.starts_with(with));
    Ok(tests.iter().filter(chosen).cloned().collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// How a test comes to a Nodeway with eBPF.
    const THROUGH_EBPF: [&str; 4] =
        ["Mesh::new(", "Mesh::with_web(", "Scene::with(", "Scene::started("];

    /// The modules below `folder` that have one of these words, as `outer::inner::`.
    fn modules(folder: &Path, outer: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                modules(&path, &format!("{outer}{name}::"), found);
            } else if name != "mod" {
                let text = std::fs::read_to_string(&path).unwrap();
                if THROUGH_EBPF.iter().any(|word| text.contains(word)) {
                    found.push(format!("{outer}{name}::"));
                }
            }
        }
    }

    #[test]
    fn every_module_that_goes_through_ebpf_is_run_or_has_a_reason() {
        let (mut found, e2e) = (Vec::new(), crate::shell::workspace().join("tests/e2e"));
        modules(&e2e, "", &mut found);
        assert!(found.len() > 15, "{found:?}");
        let known = || E2E.into_iter().chain(LEFT_OUT.map(|(module, _)| module));
        let unknown =
            found.iter().filter(|module| !known().any(|one| one.starts_with(module.as_str())));
        let unknown: Vec<_> = unknown.collect();
        assert!(
            unknown.is_empty(),
            "xtask/src/vmtest/chosen.rs says neither that {unknown:?} run on the other kernel nor why not"
        );
    }

    #[test]
    fn tests_are_chosen_by_how_they_begin_or_by_what_is_asked_for() {
        let tests = ["one::a", "one::b", "two::one::c"].map(str::to_owned);
        assert_eq!(of(&tests, &["one::"], None).unwrap(), ["one::a", "one::b"]);
        assert_eq!(of(&tests, &[""], None).unwrap().len(), 3);
        assert_eq!(of(&tests, &["one::"], Some("c")).unwrap(), ["two::one::c"]);
        let renamed = of(&tests, &["one::", "three::"], None).unwrap_err();
        assert!(renamed.to_string().contains("three::"), "{renamed}");
    }
}
