//! Pods and Namespaces, as far as enrolment needs them.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::ObjectName;

/// What the label `nodeway.dev/mesh` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mesh {
    /// `enabled`.
    Enabled,
    /// `disabled`.
    Disabled,
}

/// A Namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Its name; `ObjectName::namespace` is empty.
    pub name: ObjectName,
    /// Its mesh label, if it has one.
    pub mesh: Option<Mesh>,
}

/// A Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Namespace and name.
    pub name: ObjectName,
    /// The UID by which the node's kubelet knows it: `metadata.uid`, or a static pod's
    /// (`kubernetes.io/config.hash`). Empty in a manifest folder that gives none.
    pub uid: Arc<str>,
    /// Whether it is a mirror pod: what the API shows of a static pod. Anybody can write a Pod that
    /// claims to be one, so its `uid` gives way to that of a Pod which has it from the API server.
    pub mirror: bool,
    /// Its own mesh label, if it has one; it wins over the Namespace's.
    pub mesh: Option<Mesh>,
    /// `spec.nodeName`, if set.
    pub node: Option<Arc<str>>,
    /// Whether it shares the host's network namespace; such a pod is never enrolled.
    pub host_network: bool,
    /// Whether it has ended (phase Succeeded or Failed).
    pub ended: bool,
    /// The workload it belongs to, for metrics: its controller's name without the generated suffix,
    /// else the `app.kubernetes.io/name` or `app` label, else its own name.
    pub workload: Arc<str>,
    /// `status.podIPs`, in no meaning but this: another address is another sandbox.
    pub ips: Arc<[IpAddr]>,
    /// The path of its network namespace (annotation `nodeway.dev/netns`), where a manifest folder
    /// names it. Without, it is found by `uid`.
    pub netns: Option<PathBuf>,
}
