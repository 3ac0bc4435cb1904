//! WebSockets and the like between HTTP versions: an Upgrade in HTTP/1.1 (RFC 6455), an extended CONNECT in
//! HTTP/2 (RFC 8441).
//!
//! Inside, from routes to filters, both are what HTTP/1.1 says: GET with `Upgrade`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use h2::ext::Protocol;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    UPGRADE,
};
use http::{HeaderMap, Method, Request};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use super::headers::wants_upgrade;

const WEBSOCKET: &str = "websocket";
/// RFC 6455, 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What HTTP/2 does not say, should the request have to be said in HTTP/1.1 after all.
#[derive(Debug, Clone)]
struct Key(HeaderValue);

/// Whether the upgrade that `headers` ask for can be asked for in HTTP/2.
pub(super) fn is_websocket(headers: &HeaderMap) -> bool {
    headers
        .get(UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes()))
}

/// Says an extended CONNECT as an upgrade, with a key of our own where there must be one; `false` if it asks
/// for something that nobody is asked for.
pub(super) fn to_upgrade<B>(request: &mut Request<B>) -> bool {
    let Some(protocol) = request.extensions().get::<Protocol>() else { return true };
    let Ok(protocol) = HeaderValue::from_str(protocol.as_str()) else { return false };
    let key = request.extensions_mut().remove::<Key>();
    *request.method_mut() = Method::GET;
    let headers = request.headers_mut();
    if protocol.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes()) {
        headers.insert(SEC_WEBSOCKET_KEY, key.map_or_else(new_key, |Key(key)| key));
    }
    headers.insert(UPGRADE, protocol);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    wants_upgrade(headers)
}

/// Says an upgrade as an extended CONNECT.
pub(super) fn to_connect<B>(request: &mut Request<B>) {
    let headers = request.headers_mut();
    headers.remove(CONNECTION);
    headers.remove(CONTENT_LENGTH);
    let key = headers.remove(SEC_WEBSOCKET_KEY);
    let Some(protocol) = headers.remove(UPGRADE) else { return };
    let Ok(protocol) = protocol.to_str().map(str::to_ascii_lowercase) else { return };
    *request.method_mut() = Method::CONNECT;
    request.extensions_mut().insert(Protocol::from(protocol.as_str()));
    if let Some(key) = key {
        request.extensions_mut().insert(Key(key));
    }
}

/// The answer to `key` that proves that it was understood.
pub(super) fn accept(key: &HeaderValue) -> Option<HeaderValue> {
    let text = [key.as_bytes(), GUID].concat();
    HeaderValue::try_from(STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &text))).ok()
}

/// Whether `headers` are the answer to `key`.
pub(super) fn is_accepted(headers: &HeaderMap, key: &HeaderValue) -> bool {
    let said = headers.get(SEC_WEBSOCKET_ACCEPT);
    said.is_some() && said == accept(key).as_ref()
}

/// Fields of the handshake that HTTP/2 does not have.
pub(super) const HANDSHAKE: [HeaderName; 4] =
    [UPGRADE, SEC_WEBSOCKET_ACCEPT, CONNECTION, CONTENT_LENGTH];

fn new_key() -> HeaderValue {
    // RFC 6455, 10.3: no secret; it only must not be a key that somebody has seen before.
    let key = STANDARD.encode(fastrand::u128(..).to_ne_bytes());
    HeaderValue::try_from(key).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_answered_as_rfc_6455_shows() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        let mut headers = HeaderMap::new();
        assert!(!is_accepted(&headers, &key));
        headers
            .insert(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert!(is_accepted(&headers, &key));
        assert!(!is_accepted(&headers, &HeaderValue::from_static("another")));
    }

    #[test]
    fn an_upgrade_becomes_a_connect_and_the_same_upgrade_again() {
        let mut request = Request::get("http://web/chat")
            .header("upgrade", "WebSocket")
            .header("connection", "upgrade")
            .header("sec-websocket-key", "abc")
            .header("sec-websocket-version", "13")
            .body(())
            .unwrap();
        assert!(is_websocket(request.headers()));
        to_connect(&mut request);
        assert_eq!(request.method(), Method::CONNECT);
        assert_eq!(request.extensions().get::<Protocol>().unwrap().as_str(), "websocket");
        assert_eq!(request.headers().keys_len(), 1, "the version stays");
        to_upgrade(&mut request);
        assert_eq!(request.method(), Method::GET);
        assert_eq!(request.headers()[UPGRADE], "websocket");
        assert_eq!(request.headers()[SEC_WEBSOCKET_KEY], "abc");
    }

    #[test]
    fn a_connect_without_a_key_is_given_one_of_sixteen_octets() {
        let mut request = Request::connect("http://web/chat").body(()).unwrap();
        request.extensions_mut().insert(Protocol::from_static("websocket"));
        to_upgrade(&mut request);
        let key = request.headers()[SEC_WEBSOCKET_KEY].clone();
        assert_eq!(STANDARD.decode(key.as_bytes()).unwrap().len(), 16);
    }
}
