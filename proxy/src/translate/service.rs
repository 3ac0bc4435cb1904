//! Services.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use nodeway_core::detect::declared;
use nodeway_core::model::{self, Object, ServicePort};

use super::meta::port;
use super::{Faults, Identity, Translated};

/// A bad address or port number refuses the object. Headless and ExternalName Services have no
/// frontends; ports of other protocols than TCP are none of our business.
pub(super) fn service(identity: &Identity, service: &Service) -> Translated {
    let mut faults = Faults::default();
    let spec = service.spec.clone().unwrap_or_default();
    let external = spec.type_.as_deref() == Some("ExternalName");
    let addresses = match spec.cluster_ips {
        Some(addresses) if !addresses.is_empty() => addresses,
        _ => spec.cluster_ip.into_iter().collect(),
    };
    let cluster_ips = addresses
        .iter()
        .enumerate()
        .filter(|(_, address)| !external && !matches!(address.as_str(), "None" | ""))
        .filter_map(|(i, address)| {
            faults.check(format!("spec.clusterIPs[{i}]"), address, address.parse::<IpAddr>())
        })
        .collect();
    let mut ports = Vec::new();
    for (i, spec_port) in spec.ports.iter().flatten().enumerate() {
        if spec_port.protocol.as_deref().unwrap_or("TCP") != "TCP" {
            continue;
        }
        let field = format!("spec.ports[{i}].port");
        if let Some(number) = faults.check(field, spec_port.port, port(spec_port.port)) {
            let name = spec_port.name.as_deref();
            ports.push(ServicePort {
                name: name.unwrap_or_default().into(),
                port: number,
                protocol: declared(spec_port.app_protocol.as_deref(), name, number),
            });
        }
    }
    let object = model::Service { name: identity.name.clone(), cluster_ips, ports };
    let object = faults.list.is_empty().then_some(Object::Service(object));
    Translated { object, faults: faults.list }
}
