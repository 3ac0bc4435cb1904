//! The rules themselves, as tables: what Cargo cannot enforce and review should not have to.
//!
//! Not for style that rustfmt or clippy can tell.

use std::path::Path;

use super::source;

/// A file with more lines has two subjects.
const MOST_LINES: usize = 600;

/// A folder or file of `proxy/src`, and what of the crate it must not name.
struct Edge {
    rooms: &'static [&'static str],
    must_not_name: &'static [&'static str],
    because: &'static str,
}

/// The two flows run one way: see "The house" in docs/architecture.md.
const EDGES: [Edge; 6] = [
    Edge {
        rooms: &["listen", "serve", "upstream"],
        must_not_name: &["cli", "health", "source", "status", "translate"],
        because: "the connection flow meets the control flow only in the published snapshot",
    },
    Edge {
        rooms: &["intercept", "source", "translate"],
        must_not_name: &["cli", "health", "listen", "serve", "upstream"],
        because: "the control flow meets the connection flow only in the published snapshot",
    },
    Edge {
        rooms: &["health"],
        must_not_name: &["cli", "listen", "run", "serve", "source", "status", "translate"],
        because: "checks are told what is used and tell endpoints: no request waits for them",
    },
    Edge {
        rooms: &["source", "translate"],
        must_not_name: &["status"],
        because: "status reads the source's API by its ways, never the other way round",
    },
    Edge {
        rooms: &["status"],
        must_not_name: &[
            "cli",
            "health",
            "intercept",
            "listen",
            "run",
            "serve",
            "translate",
            "upstream",
        ],
        because: "status tells of snapshots and of what the source says: it is told them",
    },
    Edge {
        rooms: &["admin", "http1", "runtime", "streams", "telemetry"],
        must_not_name: &[
            "cli",
            "health",
            "intercept",
            "listen",
            "run",
            "serve",
            "source",
            "status",
            "translate",
            "upstream",
        ],
        because: "a leaf is used by the rooms and uses none: pass it what it needs",
    },
];

/// Crates that speak Kubernetes, and who may name them.
const KUBERNETES: [&str; 3] = ["gateway_api", "k8s_openapi", "kube"];
const MAY_NAME_KUBERNETES: [&str; 4] = [
    "proxy/src/source",
    "proxy/src/translate",
    "proxy/src/cli/validate",
    // Tests of the outside of the crate.
    "proxy/tests",
];

/// What the thinking must not see.
const CORE: &str = "proxy/core";
const NOT_IN_CORE: [&str; 13] = [
    "aya",
    "gateway-api",
    "hyper",
    "k8s-openapi",
    "kube",
    "libc",
    "mio",
    "nodeway",
    "nodeway-ebpf",
    "reqwest",
    "rustix",
    "socket2",
    "tokio",
];
/// Time and chance are arguments there; tests make their own.
const CLOCKS: [&str; 2] = ["Instant::now", "SystemTime::now"];

/// Where `unsafe` may stand.
const MAY_BE_UNSAFE: [&str; 5] =
    ["ebpf/src", "proxy/src/intercept", "proxy/tests", "tests", "proxy/core/tests"];

/// All breaches in one file: line and message.
pub(super) fn check(file: &Path, text: &str) -> Vec<(usize, String)> {
    let path = file.to_string_lossy();
    if path.ends_with("Cargo.toml") {
        return if path == format!("{CORE}/Cargo.toml") { core_dependencies(text) } else { vec![] };
    }
    let code = source::code(text);
    let mut found = too_long(text);
    found.extend(misplaced_unsafe(&path, &code));
    if is_in(&path, "proxy/src") {
        found.extend(misplaced_kubernetes(&path, &code));
        found.extend(wrong_edges(&path, &code));
    }
    if is_in(&path, CORE) {
        found.extend(core_source(&path, &code));
    }
    found.sort();
    found
}

/// Whether the file is `place`, with or without `.rs`, or stands under it.
fn is_in(path: &str, place: &str) -> bool {
    match path.strip_prefix(place) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || rest == ".rs",
        None => false,
    }
}

fn too_long(text: &str) -> Vec<(usize, String)> {
    let lines = text.lines().count();
    if lines <= MOST_LINES {
        return vec![];
    }
    let message = format!(
        "{lines} lines, the most is {MOST_LINES}: ask which of its two subjects should leave"
    );
    vec![(MOST_LINES + 1, message)]
}

fn misplaced_unsafe(path: &str, code: &str) -> Vec<(usize, String)> {
    if MAY_BE_UNSAFE.iter().any(|place| is_in(path, place)) {
        return vec![];
    }
    source::words(code, "unsafe")
        .map(|at| {
            let message = format!(
                "`unsafe` belongs behind a safe function in one of {}",
                MAY_BE_UNSAFE.join(", ")
            );
            (source::line_of(code, at), message)
        })
        .collect()
}

fn misplaced_kubernetes(path: &str, code: &str) -> Vec<(usize, String)> {
    if MAY_NAME_KUBERNETES.iter().any(|place| is_in(path, place)) {
        return vec![];
    }
    let names = KUBERNETES.iter().flat_map(|name| {
        let paths = source::words(code, name).filter(|at| {
            let after = code[at + name.len()..].trim_start();
            // `kube` may be a module of ours elsewhere: a crate's name begins a path.
            after.starts_with("::") && !code[..*at].trim_end().ends_with("::")
        });
        paths.map(move |at| (at, *name))
    });
    names
        .map(|(at, name)| {
            let message = format!(
                "`{name}` is named here, but only source/, translate/ and cli/validate know \
                 Kubernetes types: take a type of nodeway_core::model instead"
            );
            (source::line_of(code, at), message)
        })
        .collect()
}

fn wrong_edges(path: &str, code: &str) -> Vec<(usize, String)> {
    let in_room = |room: &&str| is_in(path, &format!("proxy/src/{room}"));
    let mut found = Vec::new();
    for edge in &EDGES {
        let Some(room) = edge.rooms.iter().find(|room| in_room(room)) else { continue };
        for (at, named) in source::rooms(code) {
            if edge.must_not_name.contains(&named) {
                let message = format!("{room}/ must not name crate::{named}: {}", edge.because);
                found.push((source::line_of(code, at), message));
            }
        }
    }
    found
}

/// Dependencies in `[dependencies]` and its targets' kin; what tests use is their business.
fn core_dependencies(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut counts = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        let mut name = None;
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            counts = section.ends_with("dependencies") && !section.ends_with("dev-dependencies");
            // [dependencies.tokio]
            if let Some((section, dependency)) = section.rsplit_once('.')
                && section.ends_with("dependencies")
                && !section.ends_with("dev-dependencies")
            {
                name = Some(dependency);
            }
        } else if counts && !line.starts_with('#') {
            let end = line.find(['.', '=', ' ', '\t']);
            name = end.map(|end| &line[..end]);
        }
        if let Some(name) = name.filter(|name| NOT_IN_CORE.contains(name)) {
            let message = format!(
                "{CORE} must not depend on `{name}`: no sockets, no kernel, no Kubernetes; that \
                 part belongs into proxy/src"
            );
            found.push((index + 1, message));
        }
    }
    found
}

fn core_source(path: &str, code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    if path == format!("{CORE}/src/lib.rs") && !code.contains("forbid(unsafe_code)") {
        found.push((1, "the crate must say #![forbid(unsafe_code)]".to_owned()));
    }
    let is_test =
        path.contains("/tests/") || path.contains("/benches/") || path.ends_with("tests.rs");
    if is_test {
        return found;
    }
    // Tests stand at a file's end.
    let tests = code.find("#[cfg(test)]").unwrap_or(code.len());
    for clock in CLOCKS {
        for at in source::words(&code[..tests], clock) {
            let message = format!("{clock}() here: time is an argument in {CORE}; take a `now`");
            found.push((source::line_of(code, at), message));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(file: &str, text: &str) -> Vec<usize> {
        check(Path::new(file), text).into_iter().map(|(line, _)| line).collect()
    }

    #[test]
    fn a_file_of_601_lines_is_too_long() {
        assert!(lines("xtask/src/a.rs", &"\n".repeat(600)).is_empty());
        assert_eq!(lines("xtask/src/a.rs", &"\n".repeat(601)), [601]);
    }

    #[test]
    fn unsafe_stands_in_its_places_only() {
        let text = "// unsafe\n#![forbid(unsafe_code)]\nunsafe { f() }\n";
        assert_eq!(lines("proxy/src/serve/mod.rs", text), [3]);
        assert_eq!(lines("proxy/src/interception.rs", text), [3]);
        for place in [
            "proxy/src/intercept/netns.rs",
            "proxy/tests/intercept/kernel.rs",
            "ebpf/src/main.rs",
            "tests/support/netns.rs",
        ] {
            assert!(lines(place, text).is_empty(), "{place}");
        }
    }

    #[test]
    fn kubernetes_types_stay_in_their_rooms() {
        let text = "use k8s_openapi::api::core::v1::Pod;\nuse crate::source::kube::Watch;\n";
        assert_eq!(lines("proxy/src/run.rs", text), [1]);
        for place in
            ["proxy/src/source/kube.rs", "proxy/src/translate.rs", "proxy/src/cli/validate.rs"]
        {
            assert!(lines(place, text).is_empty(), "{place}");
        }
    }

    #[test]
    fn the_flows_do_not_mix() {
        let text = "use crate::{telemetry, source::Change};\nuse crate::runtime;\n";
        assert_eq!(lines("proxy/src/serve/http/mod.rs", text), [1]);
        assert!(lines("proxy/src/run.rs", text).is_empty());
        assert_eq!(lines("proxy/src/telemetry/mod.rs", "use crate::serve::Request;\n"), [1]);
        assert_eq!(lines("proxy/src/source/kube.rs", "use crate::upstream::Pool;\n"), [1]);
        assert!(lines("proxy/src/listen/pod.rs", "use crate::intercept::Guard;\n").is_empty());
        assert_eq!(lines("proxy/src/source/kube.rs", "use crate::status::Notice;\n"), [1]);
        assert_eq!(lines("proxy/src/status/lead.rs", "use crate::intercept::Pod;\n"), [1]);
        assert!(lines("proxy/src/status/lead.rs", "use crate::source::kube::Watch;\n").is_empty());
    }

    #[test]
    fn the_core_sees_no_socket_and_no_clock() {
        let manifest = "[dependencies]\nbytes.workspace = true\ntokio.workspace = true\n\
                        hyper = { version = \"1\" }\n[dependencies.kube]\nversion = \"1\"\n\
                        [dev-dependencies]\ntokio = \"1\"\n";
        assert_eq!(lines("proxy/core/Cargo.toml", manifest), [3, 4, 5]);
        assert!(lines("proxy/Cargo.toml", manifest).is_empty());
        let text = "fn f() { Instant::now() }\n#[cfg(test)]\nmod tests { Instant::now(); }\n";
        assert_eq!(lines("proxy/core/src/balance/mod.rs", text), [1]);
        assert!(lines("proxy/src/runtime/clock.rs", text).is_empty());
    }

    #[test]
    fn the_core_forbids_unsafe() {
        assert_eq!(lines("proxy/core/src/lib.rs", "//! Core.\n"), [1]);
        assert!(lines("proxy/core/src/lib.rs", "#![forbid(unsafe_code)]\n").is_empty());
    }
}
