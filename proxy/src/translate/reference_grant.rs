//! ReferenceGrants.

use gateway_api::experimental::referencegrants::ReferenceGrant;
use nodeway_core::model::{self, Kind, Object};

use super::{Identity, Translated};

/// What a grant says of other kinds than ours concerns others.
pub(super) fn reference_grant(identity: &Identity, grant: &ReferenceGrant) -> Translated {
    let from = grant.spec.from.iter().filter_map(|from| {
        let kind = match (from.group.as_str(), from.kind.as_str()) {
            ("gateway.networking.k8s.io", "HTTPRoute") => Kind::HttpRoute,
            ("gateway.networking.k8s.io", "GRPCRoute") => Kind::GrpcRoute,
            ("gateway.networking.k8s.io", "TLSRoute") => Kind::TlsRoute,
            ("gateway.networking.k8s.io", "TCPRoute") => Kind::TcpRoute,
            _ => return None,
        };
        Some((kind, from.namespace.as_str().into()))
    });
    let to = grant.spec.to.iter().filter(|to| to.group.is_empty() && to.kind == "Service");
    let to = to.map(|to| to.name.as_deref().filter(|name| !name.is_empty()).map(Into::into));
    Translated::of(Object::ReferenceGrant(model::ReferenceGrant {
        name: identity.name.clone(),
        from: from.collect(),
        to: to.collect(),
    }))
}
