//! What a policy for a backend's endpoints means for a request.
//!
//! Not TLS itself: that is `upstream`'s.

use h2::ext::Protocol;
use http::header::UPGRADE;
use http::{Method, Request};
use nodeway_core::model::AppProtocol;
use nodeway_core::snapshot::Backend;

use super::headers::translate;
use super::websocket;
use crate::telemetry::Flag;
use crate::upstream::{RequestBody, Version};

/// Why nothing may be sent to any endpoint of `backend`, if that is so.
#[inline]
pub(super) fn refused(backend: &Backend) -> Option<Flag> {
    let tls = backend.tls()?;
    let why = tls.terms.as_ref().err()?;
    tracing::debug!(service = %backend.service, policy = %tls.policy, %why, "nobody is to be trusted");
    Some(Flag::UpstreamTls)
}

/// Whether a server may choose to speak another version than `version`: if nothing is declared, or for
/// a client that speaks HTTP/2 if "HTTP" is, and if the request can be said in either.
#[inline]
pub(super) fn choice(backend: &Backend, version: Version, request: &Request<RequestBody>) -> bool {
    backend.tls().is_some()
        && match backend.protocol {
            AppProtocol::Http => version == Version::Http2,
            AppProtocol::Http1 | AppProtocol::Http2 => false,
            AppProtocol::Detect | AppProtocol::Tls | AppProtocol::Tcp => true,
        }
        && request.method() != Method::CONNECT
        && !request.headers().contains_key(UPGRADE)
}

/// Says in version `to` what was said in `from`.
pub(super) fn say_in(request: &mut Request<RequestBody>, from: Version, to: Version) {
    request.headers_mut().remove(http::header::CONNECTION);
    if to == Version::Http1 && request.extensions().get::<Protocol>().is_some() {
        // The tunnel begins with the answer, beside the request.
        *request.body_mut() = RequestBody::empty();
        websocket::to_upgrade(request);
        request.extensions_mut().remove::<Protocol>();
    }
    translate(request, from, to);
}
