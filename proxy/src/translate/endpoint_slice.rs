//! EndpointSlices.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use nodeway_core::model::{self, EndpointAddress, EndpointPort, Object, ObjectName};

use super::meta::{ip_address, port};
use super::{Faults, Identity, Translated};

/// Names the Service that a slice belongs to.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// A bad endpoint or port is left out and told; the rest of the slice counts. A slice without its
/// Service's label belongs to nobody and is refused.
pub(super) fn endpoint_slice(identity: &Identity, slice: &EndpointSlice) -> Translated {
    let mut faults = Faults::default();
    let labels = slice.metadata.labels.as_ref();
    let Some(service) = labels.and_then(|labels| labels.get(SERVICE_LABEL)) else {
        let message = "missing: nobody knows whose endpoints these are";
        faults.add(format!("metadata.labels[{SERVICE_LABEL}]"), message);
        return Translated { faults: faults.list, ..Translated::default() };
    };
    if slice.address_type == "FQDN" {
        // Deprecated, and resolved by nobody: as kube-proxy, we leave it alone.
        return Translated::default();
    }
    let mut ports = Vec::new();
    for (i, slice_port) in slice.ports.iter().flatten().enumerate() {
        if slice_port.protocol.as_deref().unwrap_or("TCP") != "TCP" {
            continue;
        }
        let number = slice_port.port.unwrap_or_default();
        let field = format!("ports[{i}].port");
        match port(number) {
            Ok(port) => {
                let name = slice_port.name.as_deref().unwrap_or_default().into();
                ports.push(EndpointPort { name, port });
            }
            Err(message) => faults.note(field, format!("{number}: {message}; left out")),
        }
    }
    let endpoints = slice.endpoints.iter().flatten().enumerate().filter_map(|(i, endpoint)| {
        let field = format!("endpoints[{i}].addresses[0]");
        let text = endpoint.addresses.first().map_or("", String::as_str);
        match address(text, &slice.address_type) {
            Ok(address) => Some(endpoint_address(endpoint, address, identity)),
            Err(message) => {
                faults.note(field, format!("{text:?}: {message}; left out"));
                None
            }
        }
    });
    let endpoints = endpoints.collect();
    let service = ObjectName::new(identity.name.namespace.clone(), service.as_str());
    let name = identity.name.clone();
    faults.with(Object::EndpointSlice(model::EndpointSlice { name, service, ports, endpoints }))
}

fn address(text: &str, address_type: &str) -> Result<IpAddr, String> {
    let address = ip_address(text)?;
    let fits = match address_type {
        "IPv4" => address.is_ipv4(),
        "IPv6" => address.is_ipv6(),
        _ => true,
    };
    if fits {
        Ok(address)
    } else {
        Err(format!("not an {address_type} address, as addressType says"))
    }
}

fn endpoint_address(endpoint: &Endpoint, address: IpAddr, identity: &Identity) -> EndpointAddress {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    // The API says of absent conditions: ready is unknown and counts as true, serving is ready's.
    let ready = conditions.ready.unwrap_or(true);
    let pod = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
    let hints = endpoint.hints.as_ref();
    EndpointAddress {
        address,
        ready,
        serving: conditions.serving.unwrap_or(ready),
        terminating: conditions.terminating.unwrap_or(false),
        pod: pod.and_then(|target| {
            // One text for all: there may be a hundred thousand of them.
            let own = &identity.name.namespace;
            let other = target.namespace.as_deref().filter(|namespace| *namespace != &**own);
            let namespace = other.map_or_else(|| Arc::clone(own), Into::into);
            Some(ObjectName::new(namespace, target.name.as_deref()?))
        }),
        node: endpoint.node_name.as_deref().map(Into::into),
        zone: endpoint.zone.as_deref().map(Into::into),
        for_zones: names(hints.and_then(|h| h.for_zones.as_deref()), |zone| &zone.name),
        for_nodes: names(hints.and_then(|h| h.for_nodes.as_deref()), |node| &node.name),
    }
}

fn names<T>(hints: Option<&[T]>, name: impl Fn(&T) -> &str) -> Arc<[Arc<str>]> {
    hints.unwrap_or_default().iter().map(|hint| name(hint).into()).collect()
}
