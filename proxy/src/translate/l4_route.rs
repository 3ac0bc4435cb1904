//! TCPRoutes and TLSRoutes with parents of kind Service (GEP-735, GEP-2643, GEP-1294).
//!
//! All served versions of both are read by one schema, which asks for less than the newest: a TLSRoute
//! of v1alpha2 need not give hostnames.

use gateway_api::experimental::tcproutes::{TcpRouteParentRefs, TcpRouteRulesBackendRefs};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use nodeway_core::model::{BackendRef, Hostname, Kind, L4Rule, Rules};
use serde::Deserialize;

use super::meta::{MAX_DNS_NAME, is_dns_name};
use super::route::{Reference, finish, parents, weight};
use super::{Faults, Identity, Translated};

/// A TCPRoute or a TLSRoute.
#[derive(Debug, Deserialize)]
pub(super) struct L4Route {
    #[serde(default)]
    metadata: ObjectMeta,
    spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    /// A TLSRoute's.
    hostnames: Option<Vec<String>>,
    parent_refs: Option<Vec<TcpRouteParentRefs>>,
    rules: Option<Vec<Rule>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    name: Option<String>,
    backend_refs: Option<Vec<TcpRouteRulesBackendRefs>>,
}

/// Faults count as those of an HTTPRoute do.
pub(super) fn l4_route(identity: &Identity, route: &L4Route) -> Translated {
    let mut faults = Faults::default();
    let parents = parents!(identity, route.spec.parent_refs, &mut faults);
    if parents.is_empty() {
        return Translated { faults: faults.list, ..Translated::default() };
    }
    let rules = rules(identity, route.spec.rules.as_deref().unwrap_or_default(), &mut faults);
    let rules = match identity.kind {
        Kind::TlsRoute => {
            let given = route.spec.hostnames.as_deref().unwrap_or_default();
            Rules::Tls { hostnames: hostnames(given, &mut faults), rules }
        }
        _ => Rules::Tcp(rules),
    };
    finish(identity, &route.metadata, parents, rules, faults)
}

fn rules(identity: &Identity, rules: &[Rule], faults: &mut Faults) -> Vec<L4Rule> {
    if rules.is_empty() {
        faults.add("spec.rules", "must have a rule");
    }
    if rules.len() > 1 {
        // Nothing tells whom the others are for.
        faults.note("spec.rules[1]", "only the first rule has any effect");
    }
    let rules = rules.iter().enumerate().map(|(i, spec)| {
        let backends = spec.backend_refs.iter().flatten().enumerate().map(|(k, spec)| {
            let reference = Reference {
                group: spec.group.as_deref(),
                kind: spec.kind.as_deref(),
                namespace: spec.namespace.as_deref(),
                name: &spec.name,
                port: spec.port,
            };
            let field = format!("spec.rules[{i}].backendRefs[{k}]");
            let weight = weight(spec.weight, &field, faults);
            BackendRef { weight, target: reference.target(identity), filters: Vec::new() }
        });
        L4Rule { backends: backends.collect(), name: spec.name.as_deref().map(Into::into) }
    });
    rules.collect()
}

fn hostnames(given: &[String], faults: &mut Faults) -> Vec<Hostname> {
    let mut hostnames = Vec::with_capacity(given.len());
    for (i, text) in given.iter().enumerate() {
        hostnames.extend(faults.check(format!("spec.hostnames[{i}]"), text, hostname(text)));
    }
    if given.is_empty() {
        hostnames.push(Hostname::Any);
    }
    hostnames
}

fn hostname(text: &str) -> Result<Hostname, &'static str> {
    let (name, below) = match text.strip_prefix("*.") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    if name.parse::<std::net::IpAddr>().is_ok() {
        return Err("must be a name: clients do not ask for servers by address (RFC 6066, 3)");
    }
    if text.len() > MAX_DNS_NAME || !is_dns_name(name) {
        return Err("must be a host's name in lower case, or one with \"*.\" before it");
    }
    Ok(if below { Hostname::Below(name.into()) } else { Hostname::Exact(name.into()) })
}
