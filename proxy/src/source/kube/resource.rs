//! What is watched, and where the API serves it.

use nodeway_core::model::Kind;

/// One kind, as the API serves it.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    pub(super) kind: Kind,
    /// Its API group; empty for the core group.
    pub(super) group: &'static str,
    /// Its versions, the preferred first: a CRD's oldest channels serve the later ones only.
    pub(super) versions: &'static [&'static str],
    /// Its plural name.
    pub(super) plural: &'static str,
    pub(super) field_selector: Option<String>,
    /// Objects asked for at once.
    pub(super) page: u16,
}

// === impl Resource ===

impl Resource {
    /// All that `node`'s proxy needs to know.
    pub(super) fn all(node: Option<&str>) -> Vec<Self> {
        const GATEWAY: &str = "gateway.networking.k8s.io";
        let of = |kind, group, versions, plural| Self {
            kind,
            group,
            versions,
            plural,
            field_selector: None,
            page: 500,
        };
        let mut all = vec![
            of(Kind::Namespace, "", &["v1"], "namespaces"),
            of(Kind::Service, "", &["v1"], "services"),
            // A full slice has some 40 KB.
            Self {
                page: 100,
                ..of(Kind::EndpointSlice, "discovery.k8s.io", &["v1"], "endpointslices")
            },
            of(Kind::HttpRoute, GATEWAY, &["v1", "v1beta1"], "httproutes"),
            of(Kind::GrpcRoute, GATEWAY, &["v1"], "grpcroutes"),
            of(Kind::ReferenceGrant, GATEWAY, &["v1", "v1beta1"], "referencegrants"),
        ];
        if let Some(node) = node {
            let select = |field: &str| Some(format!("{field}={node}"));
            all.push(Self {
                field_selector: select("spec.nodeName"),
                ..of(Kind::Pod, "", &["v1"], "pods")
            });
            all.push(Self {
                field_selector: select("metadata.name"),
                ..of(Kind::Node, "", &["v1"], "nodes")
            });
        }
        all
    }

    /// The path of its collection, all namespaces.
    pub(super) fn path(&self, version: &str) -> String {
        match self.group {
            "" => format!("/api/{version}/{}", self.plural),
            group => format!("/apis/{group}/{version}/{}", self.plural),
        }
    }

    /// As RBAC names it.
    pub(super) fn rbac(&self) -> String {
        match self.group {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }
}
