//! What all objects have.

use std::collections::BTreeMap;
use std::net::IpAddr;

use nodeway_core::model::Mesh;

use super::Faults;

/// Opts in or out of the mesh.
const MESH_LABEL: &str = "nodeway.dev/mesh";

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
