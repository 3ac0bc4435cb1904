//! BackendPolicies (`nodeway.dev/v1alpha1`), our own kind.
//!
//! What the CRD's schema asks for is asked for here too: a folder has no API server before it. The CRD is
//! `deploy/kustomize/crds/backendpolicies.yaml`; a test holds the two together.

mod balancing;
mod connection;
mod health;
mod limits;
mod outliers;

use std::ops::RangeInclusive;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use nodeway_core::model::{BackendSettings, Object};
use serde::Deserialize;
use serde_json::Value;

use super::fields::Fields;
use super::policy_targets::{self, MOST_TARGETS};
use super::{Faults, Identity, Translated};

/// A policy as it comes: what it is for can be read even if the rest cannot.
#[derive(Debug, Deserialize)]
pub(super) struct Document {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
}

/// Whatever is wrong with what it asks for, its targets are known, and told: the object says so, and what
/// was last good stays in force.
pub(super) fn backend_policy(identity: &Identity, document: &Document) -> Translated {
    let mut faults = Faults::default();
    let none = Vec::new();
    let refs = document.spec.get("targetRefs");
    let refs = refs.and_then(Value::as_array).unwrap_or(&none);
    let targets = policy_targets::of_our_own(identity, refs, &mut faults);
    let settings =
        Fields::of("spec", &document.spec, &mut faults, |spec| settings(spec, refs.len()));
    if targets.is_empty() {
        return Translated { faults: faults.list, ..Translated::default() };
    }
    let settings = if faults.refused { Err(&*faults.list) } else { Ok(settings) };
    let policy = policy_targets::policy(identity, &document.metadata, targets, settings);
    let object = Some(Object::BackendPolicy(policy));
    Translated { object, refused: None, faults: faults.list }
}

/// What is left out has the default that `BackendSettings` says.
fn settings(spec: &mut Fields<'_>, targets: usize) -> BackendSettings {
    let BackendSettings { balancing, health_check, outliers, limits, retry_budget, connections } =
        BackendSettings::default();
    // These have been read, as far as they can be.
    spec.raw("targetRefs");
    if targets == 0 || targets > MOST_TARGETS {
        spec.fault("targetRefs", format!("must be a list of 1 to {MOST_TARGETS}"));
    }
    BackendSettings {
        balancing: spec.object("loadBalancing", balancing::balancing).unwrap_or(balancing),
        health_check: spec.object("healthCheck", health::check).flatten().or(health_check),
        outliers: spec.object("outlierDetection", outliers::detection).unwrap_or(outliers),
        limits: spec.object("circuitBreaker", limits::limits).unwrap_or(limits),
        retry_budget: spec.object("retryBudget", limits::retry_budget).or(retry_budget),
        connections: spec.object("connection", connection::life).unwrap_or(connections),
    }
}

const fn milliseconds(least: u64, most: u64) -> RangeInclusive<Duration> {
    Duration::from_millis(least)..=Duration::from_millis(most)
}

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
