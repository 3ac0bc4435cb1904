//! Services.

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use nodeway_core::detect::declared;
use nodeway_core::model::{self, Object, ServiceKind, ServicePort};

use super::meta::{ip_address, port};
use super::{Faults, Identity, Translated};

/// How long a client stays with its endpoint unless the Service says otherwise (Kubernetes' default).
const AFFINITY_SECONDS: i32 = 10_800;

/// A bad address or port number refuses the object, but for external addresses, which are left out.
/// Headless and ExternalName Services have no frontends; ports of other protocols than TCP are none of
/// our business.
pub(super) fn service(identity: &Identity, service: &Service) -> Translated {
    let mut faults = Faults::default();
    let spec = service.spec.clone().unwrap_or_default();
    let addresses = match &spec.cluster_ips {
        Some(addresses) if !addresses.is_empty() => addresses.clone(),
        _ => spec.cluster_ip.clone().into_iter().collect(),
    };
    let kind = if spec.type_.as_deref() == Some("ExternalName") {
        ServiceKind::ExternalName
    } else if addresses.iter().any(|address| address == "None") {
        ServiceKind::Headless
    } else {
        ServiceKind::ClusterIp
    };
    let cluster_ips = addresses
        .iter()
        .enumerate()
        .filter(|(_, address)| kind == ServiceKind::ClusterIp && !address.is_empty())
        .filter_map(|(i, address)| {
            faults.check(format!("spec.clusterIPs[{i}]"), address, ip_address(address))
        })
        .collect();
    let external_ips = match kind {
        ServiceKind::ClusterIp => external_ips(service, &spec, &mut faults),
        ServiceKind::Headless | ServiceKind::ExternalName => Vec::new(),
    };
    let mut ports: Vec<ServicePort> = Vec::new();
    for (i, spec_port) in spec.ports.iter().flatten().enumerate() {
        if spec_port.protocol.as_deref().unwrap_or("TCP") != "TCP" {
            continue;
        }
        let field = format!("spec.ports[{i}].port");
        if let Some(number) = faults.check(field, spec_port.port, port(spec_port.port)) {
            let name = spec_port.name.as_deref();
            if ports.iter().any(|other| other.port == number) {
                faults.add(format!("spec.ports[{i}].port"), format!("{number}: given twice"));
            }
            // Slices refer to ports by name: two alike would share their endpoints.
            if ports.iter().any(|other| *other.name == *name.unwrap_or_default()) {
                let message = format!(
                    "{:?}: each of several ports needs a name of its own",
                    name.unwrap_or_default()
                );
                faults.add(format!("spec.ports[{i}].name"), message);
            }
            ports.push(ServicePort {
                name: name.unwrap_or_default().into(),
                port: number,
                protocol: declared(spec_port.app_protocol.as_deref(), name, number),
            });
        }
    }
    let object = model::Service {
        name: identity.name.clone(),
        kind,
        cluster_ips,
        external_ips,
        affinity: affinity(&spec, &mut faults),
        internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
        ports,
    };
    faults.with(Object::Service(object))
}

/// The addresses besides its own at which kube-proxy answers for a Service on every node. A load
/// balancer that wants to see the traffic itself (`ipMode: Proxy`, KEP-1860), or that lets some sources
/// in only (`loadBalancerSourceRanges`), keeps its addresses.
fn external_ips(service: &Service, spec: &ServiceSpec, faults: &mut Faults) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    let mut add = |field: String, text: &str| match ip_address(text) {
        Ok(address) if !addresses.contains(&address) => addresses.push(address),
        Ok(_) => {}
        Err(message) => faults.note(field, format!("{text:?}: {message}; left out")),
    };
    for (i, text) in spec.external_ips.iter().flatten().enumerate() {
        add(format!("spec.externalIPs[{i}]"), text);
    }
    let restricted = spec.load_balancer_source_ranges.iter().flatten().next().is_some();
    if spec.type_.as_deref() != Some("LoadBalancer") || restricted {
        return addresses;
    }
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref());
    for (i, ingress) in ingress.into_iter().flatten().enumerate() {
        if let Some(text) = ingress.ip.as_deref().filter(|ip| !ip.is_empty())
            && ingress.ip_mode.as_deref() != Some("Proxy")
        {
            add(format!("status.loadBalancer.ingress[{i}].ip"), text);
        }
    }
    addresses
}

fn affinity(spec: &ServiceSpec, faults: &mut Faults) -> Option<Duration> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds = config.and_then(|config| config.timeout_seconds).unwrap_or(AFFINITY_SECONDS);
    let valid = u64::try_from(seconds).ok().filter(|seconds| (1..=86_400).contains(seconds));
    let field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
    let seconds = faults.check(field, seconds, valid.ok_or("must be from 1 to 86400"))?;
    Some(Duration::from_secs(seconds))
}
