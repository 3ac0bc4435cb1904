//! Services.

use k8s_openapi::api::core::v1::Service;
use nodeway_core::detect::declared;
use nodeway_core::model::{self, Object, ServicePort};

use super::meta::{ip_address, port};
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
            faults.check(format!("spec.clusterIPs[{i}]"), address, ip_address(address))
        })
        .collect();
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
        cluster_ips,
        external_ips: Vec::new(),
        affinity: None,
        internal_local: false,
        ports,
    };
    faults.with(Object::Service(object))
}
