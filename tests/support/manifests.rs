//! The manifests that tests need, as text, and how they get into a folder.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::Pod;

/// Writes `text` to `file` in `folder` in one go: nobody ever reads half of it.
///
/// # Panics
/// When it cannot.
pub fn put(folder: &Path, file: &str, text: &str) {
    let hidden = folder.join(format!(".{file}.tmp"));
    fs::write(&hidden, text).expect("a manifest");
    fs::rename(hidden, folder.join(file)).expect("a manifest");
}

/// A Service in namespace `shop` with its ClusterIPs and one port; `extra` goes into the port.
#[must_use]
pub fn service(name: &str, ips: &[&str], port: u16, extra: &str) -> String {
    let ips = ips.iter().map(|ip| format!("\"{ip}\"")).collect::<Vec<_>>().join(", ");
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec:\n  clusterIPs: [{ips}]\n  ports:\n  - {{port: {port}, protocol: TCP, {extra}}}\n"
    )
}

/// An EndpointSlice of Service `service` in namespace `shop`; all endpoints are ready.
#[must_use]
pub fn slice(name: &str, service: &str, family: &str, addresses: &[&str], port: u16) -> String {
    let mut text = format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {name}\n  \
         namespace: shop\n  labels: {{kubernetes.io/service-name: {service}}}\n\
         addressType: {family}\nports:\n- {{port: {port}, protocol: TCP, name: \"\"}}\nendpoints:\n"
    );
    for address in addresses {
        let _ = writeln!(text, "- {{addresses: [\"{address}\"], conditions: {{ready: true}}}}");
    }
    if addresses.is_empty() {
        text.truncate(text.trim_end().len());
        text.push_str(" []\n");
    }
    text
}

/// A Pod in namespace `shop`; `label` is the value of `nodeway.dev/mesh`, empty for none.
#[must_use]
pub fn pod(pod: &Pod, label: &str) -> String {
    let label =
        if label.is_empty() { String::new() } else { format!("nodeway.dev/mesh: {label}, ") };
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {}\n  namespace: shop\n  \
         labels: {{{label}app: {}}}\n  annotations: {{nodeway.dev/netns: {}}}\n",
        pod.name,
        pod.name,
        pod.netns()
    )
}

/// An HTTPRoute in namespace `shop` on Service `parent`; `rules` is YAML, indented by two.
#[must_use]
pub fn route(name: &str, parent: &str, rules: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
         metadata: {{name: {name}, namespace: shop}}\nspec:\n  \
         parentRefs: [{{group: \"\", kind: Service, name: {parent}}}]\n  rules:\n{rules}"
    )
}
