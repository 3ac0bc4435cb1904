//! What all objects have.

use std::collections::BTreeMap;
use std::net::IpAddr;

use nodeway_core::model::Mesh;

use super::Faults;

/// Opts in or out of the mesh.
const MESH_LABEL: &str = "nodeway.dev/mesh";
/// The longest DNS name, octets.
pub(super) const MAX_DNS_NAME: usize = 253;
/// The longest path in a route, octets (Gateway API, `HTTPPathMatch` and `HTTPPathModifier`).
pub(super) const MAX_PATH: usize = 1024;

/// What the mesh label says.
pub(super) fn mesh(labels: Option<&BTreeMap<String, String>>, faults: &mut Faults) -> Option<Mesh> {
    match labels?.get(MESH_LABEL)?.as_str() {
        "enabled" => Some(Mesh::Enabled),
        "disabled" => Some(Mesh::Disabled),
        other => {
            let message = format!("{other:?}: must be \"enabled\" or \"disabled\"");
            faults.add(format!("metadata.labels[{MESH_LABEL}]"), message);
            None
        }
    }
}

/// A port number that can be dialled.
pub(super) fn port(value: i32) -> Result<u16, &'static str> {
    u16::try_from(value).ok().filter(|port| *port != 0).ok_or("must be from 1 to 65535")
}

/// An address that can be dialled.
pub(super) fn ip_address(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| "not an IP address".to_owned())?;
    if address.is_unspecified() || address.is_multicast() {
        // Linux takes the unspecified address for this host.
        return Err("not an address of one host".to_owned());
    }
    Ok(address)
}

/// Whether it is a DNS name in lower case: an object's ("DNS Subdomain Names") or a host's (Gateway API,
/// `PreciseHostname`; RFC 1123).
pub(super) fn is_dns_name(name: &str) -> bool {
    let inside = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(inside)
            && !(label.starts_with('-') || label.ends_with('-'))
    };
    name.len() <= MAX_DNS_NAME && name.split('.').all(label)
}

/// Whether a path may have it as it stands (RFC 3986, 3.3).
pub(super) fn is_of_path(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-/._~!$&'()*+,;=:@%".contains(c)
}
