//! What stands in deploy/: the chart and the manifests say the same, say it in Kubernetes' own terms, and keep their
//! promises. No cluster and no privileges: Helm and kubectl render, nothing is installed.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests: the first surprise ends the test, with a message"
)]

mod chart;
mod objects;
mod pod;
mod render;
mod values;
