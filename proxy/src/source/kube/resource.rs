//! What is watched, and where the API serves it.

use nodeway_core::model::{Kind, ObjectName};

/// One kind, as the API serves it.
#[derive(Debug, Clone)]
pub(crate) struct Resource {
    pub(crate) kind: Kind,
    /// Its API group; empty for the core group.
    pub(crate) group: &'static str,
    /// Its versions, the preferred first: a CRD's oldest channels serve the later ones only.
    pub(crate) versions: &'static [&'static str],
    /// Its plural name.
    pub(crate) plural: &'static str,
    pub(crate) field_selector: Option<String>,
    /// Objects asked for at once.
    pub(crate) page: u16,
    /// One object alone.
    pub(crate) only: Option<Only>,
}

/// One object, and which watch of it this is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Only {
    pub(crate) name: ObjectName,
    pub(crate) number: u64,
}

// === impl Resource ===

impl Resource {
    /// All that `node`'s proxy needs to know; besides, single ConfigMaps (see `bundles`).
    pub(crate) fn all(node: Option<&str>) -> Vec<Self> {
        let mut all: Vec<Self> = [
            Kind::Namespace,
            Kind::Service,
            Kind::EndpointSlice,
            Kind::HttpRoute,
            Kind::GrpcRoute,
            Kind::TlsRoute,
            Kind::TcpRoute,
            Kind::ReferenceGrant,
            Kind::BackendTlsPolicy,
            Kind::BackendPolicy,
            Kind::BackendTrafficPolicy,
        ]
        .map(Self::of)
        .into();
        if let Some(node) = node {
            let select = |field: &str| Some(format!("{field}={node}"));
            all.push(Self { field_selector: select("spec.nodeName"), ..Self::of(Kind::Pod) });
            all.push(Self { field_selector: select("metadata.name"), ..Self::of(Kind::Node) });
        }
        all
    }

    /// All objects of the kind.
    pub(crate) fn of(kind: Kind) -> Self {
        const GATEWAY: &str = "gateway.networking.k8s.io";
        const EXPERIMENTAL: &str = "gateway.networking.x-k8s.io";
        let (group, versions, plural): (_, &[_], _) = match kind {
            Kind::Namespace => ("", &["v1"], "namespaces"),
            Kind::Service => ("", &["v1"], "services"),
            Kind::EndpointSlice => ("discovery.k8s.io", &["v1"], "endpointslices"),
            Kind::HttpRoute => (GATEWAY, &["v1", "v1beta1"], "httproutes"),
            Kind::GrpcRoute => (GATEWAY, &["v1"], "grpcroutes"),
            Kind::BackendTlsPolicy => (GATEWAY, &["v1", "v1alpha3"], "backendtlspolicies"),
            Kind::ConfigMap => ("", &["v1"], "configmaps"),
            Kind::TlsRoute => (GATEWAY, &["v1", "v1alpha3", "v1alpha2"], "tlsroutes"),
            Kind::TcpRoute => (GATEWAY, &["v1alpha2", "v1"], "tcproutes"),
            Kind::ReferenceGrant => (GATEWAY, &["v1", "v1beta1"], "referencegrants"),
            Kind::Mesh => (EXPERIMENTAL, &["v1alpha1"], "xmeshes"),
            Kind::BackendTrafficPolicy => (EXPERIMENTAL, &["v1alpha1"], "xbackendtrafficpolicies"),
            Kind::BackendPolicy => ("nodeway.dev", &["v1alpha1"], "backendpolicies"),
            Kind::Pod => ("", &["v1"], "pods"),
            Kind::Node => ("", &["v1"], "nodes"),
        };
        // A full slice has some 40 KB, and a route of many rules and parents may be as long.
        let page = match kind {
            Kind::EndpointSlice => 100,
            kind if kind.is_route() => 100,
            _ => 500,
        };
        Self { kind, group, versions, plural, field_selector: None, page, only: None }
    }

    /// One object alone.
    pub(crate) fn only(self, only: Only) -> Self {
        let field_selector = Some(format!("metadata.name={}", only.name.name));
        Self { field_selector, only: Some(only), ..self }
    }

    /// The path of its collection, all namespaces.
    pub(crate) fn path(&self, version: &str) -> String {
        match self.group {
            "" => format!("/api/{version}/{}", self.plural),
            group => format!("/apis/{group}/{version}/{}", self.plural),
        }
    }

    /// The path of a collection in one namespace; of the cluster's objects without.
    pub(crate) fn path_in(&self, version: &str, namespace: &str) -> String {
        let whole = self.path(version);
        match (namespace, whole.strip_suffix(self.plural)) {
            ("", _) | (_, None) => whole,
            (_, Some(root)) => format!("{root}namespaces/{namespace}/{}", self.plural),
        }
    }

    /// This version, if it is one of the resource's; else the preferred one.
    pub(crate) fn served(&self, version: &str) -> &'static str {
        let preferred = self.versions.first().copied().unwrap_or("v1");
        self.versions.iter().find(|known| **known == version).copied().unwrap_or(preferred)
    }

    /// `GROUP/VERSION`, as objects name it.
    pub(crate) fn api_version(&self, version: &str) -> String {
        match self.group {
            "" => version.to_owned(),
            group => format!("{group}/{version}"),
        }
    }

    /// A part of it, as RBAC names it.
    pub(crate) fn subresource(&self, part: &str) -> String {
        match self.group {
            "" => format!("{}/{part}", self.plural),
            group => format!("{}/{part}.{group}", self.plural),
        }
    }

    /// As RBAC names it.
    pub(crate) fn rbac(&self) -> String {
        match self.group {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn the_service_account_may_watch_what_is_watched_and_nothing_else() {
        let rbac = include_str!("../../../../deploy/kustomize/rbac.yaml");
        let objects: Vec<Value> = serde_saphyr::from_multiple(rbac).unwrap();
        let role = objects.iter().find(|object| object["kind"] == "ClusterRole").unwrap();
        let texts = |list: &Value| -> Vec<String> {
            list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let mut may = BTreeSet::new();
        for rule in role["rules"].as_array().unwrap() {
            let verbs = texts(&rule["verbs"]);
            if !verbs.iter().any(|verb| ["get", "list", "watch", "*"].contains(&verb.as_str())) {
                continue;
            }
            assert_eq!(verbs, ["list", "watch"], "{rule}");
            for group in texts(&rule["apiGroups"]) {
                for plural in texts(&rule["resources"]) {
                    let dot = if group.is_empty() { "" } else { "." };
                    may.insert(format!("{plural}{dot}{group}"));
                }
            }
        }
        // Not by the source: by whoever leads, and while a policy names them.
        let others = [Kind::Mesh, Kind::ConfigMap].map(Resource::of);
        let all = Resource::all(Some("n"));
        let watched: BTreeSet<_> = all.iter().chain(&others).map(Resource::rbac).collect();
        assert_eq!(may, watched);
    }
}
