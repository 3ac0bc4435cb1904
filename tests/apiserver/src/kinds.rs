//! What the server serves.

/// One kind of object, as it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The API group; empty for the core group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The plural name in paths.
    pub plural: String,
    /// The kind.
    pub kind: String,
    /// Short names for people.
    pub short: Vec<String>,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Whether `status` is a subresource.
    pub status: bool,
}

// === impl Resource ===

impl Resource {
    fn new(version: &str, plural: &str, kind: &str, short: &str) -> Self {
        let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: plural.to_owned(),
            kind: kind.to_owned(),
            short: short.split_whitespace().map(str::to_owned).collect(),
            namespaced: true,
            status: false,
        }
    }

    fn of_cluster(self) -> Self {
        Self { namespaced: false, ..self }
    }

    fn with_status(self) -> Self {
        Self { status: true, ..self }
    }

    /// `GROUP/VERSION`, or the version alone in the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// As RBAC and messages name it: `httproutes.gateway.networking.k8s.io`.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// What every server has.
    pub(crate) fn builtin() -> Vec<Self> {
        vec![
            Self::new("v1", "namespaces", "Namespace", "ns").of_cluster().with_status(),
            Self::new("v1", "nodes", "Node", "no").of_cluster().with_status(),
            Self::new("v1", "services", "Service", "svc").with_status(),
            Self::new("v1", "pods", "Pod", "po").with_status(),
            Self::new("v1", "events", "Event", "ev"),
            Self::new("v1", "serviceaccounts", "ServiceAccount", "sa"),
            Self::new("v1", "configmaps", "ConfigMap", "cm"),
            Self::new("v1", "secrets", "Secret", ""),
            Self::new("apps/v1", "deployments", "Deployment", "deploy").with_status(),
            Self::new("apps/v1", "daemonsets", "DaemonSet", "ds").with_status(),
            Self::new("discovery.k8s.io/v1", "endpointslices", "EndpointSlice", ""),
            Self::new("coordination.k8s.io/v1", "leases", "Lease", ""),
            Self::new("events.k8s.io/v1", "events", "Event", "ev"),
            Self::new(
                "apiextensions.k8s.io/v1",
                "customresourcedefinitions",
                "CustomResourceDefinition",
                "crd",
            )
            .of_cluster()
            .with_status(),
        ]
    }

    /// What the Gateway API's CRDs add.
    pub fn gateway_api() -> Vec<Self> {
        const GROUP: &str = "gateway.networking.k8s.io";
        let of = |version: &str, plural, kind, short| {
            Self::new(&format!("{GROUP}/{version}"), plural, kind, short)
        };
        vec![
            of("v1", "httproutes", "HTTPRoute", "").with_status(),
            of("v1", "grpcroutes", "GRPCRoute", "").with_status(),
            of("v1", "tlsroutes", "TLSRoute", "").with_status(),
            of("v1alpha2", "tcproutes", "TCPRoute", "").with_status(),
            of("v1", "backendtlspolicies", "BackendTLSPolicy", "btlspolicy").with_status(),
            of("v1beta1", "referencegrants", "ReferenceGrant", "refgrant"),
            Self::new("gateway.networking.x-k8s.io/v1alpha1", "xmeshes", "XMesh", "mesh")
                .of_cluster()
                .with_status(),
            Self::new(
                "gateway.networking.x-k8s.io/v1alpha1",
                "xbackendtrafficpolicies",
                "XBackendTrafficPolicy",
                "xbtrafficpolicy",
            )
            .with_status(),
        ]
    }

    /// What the CRD of the mesh under test adds.
    pub fn backend_policies() -> Self {
        Self::new("nodeway.dev/v1alpha1", "backendpolicies", "BackendPolicy", "bpol").with_status()
    }
}
