//! Pods and Namespaces, as far as enrolment needs them.

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
    /// `metadata.uid`; empty in a manifest folder that gives none.
    pub uid: Arc<str>,
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
    /// The path of its network namespace (annotation `nodeway.dev/netns`).
    pub netns: Option<PathBuf>,
}
