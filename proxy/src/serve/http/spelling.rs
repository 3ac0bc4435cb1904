//! A request's path in the one spelling that routes look at, for the endpoint too.
//!
//! What a spelling is stands in `nodeway_core::route::normalised`.

use std::borrow::Cow;

use http::{Request, Uri};
use nodeway_core::route::normalised;

/// Spells the path as routes see it, and as it is sent on then: if the two differed, what a rule keeps
/// out could reach an endpoint that reads the path in another way. False if there is no such URI.
#[inline]
pub(super) fn normalise<B>(request: &mut Request<B>) -> bool {
    match normalised(request.uri().path()) {
        Cow::Borrowed(_) => true,
        Cow::Owned(path) => {
            let spelled = respell(request.uri(), path);
            let spelled = spelled.map(|uri| *request.uri_mut() = uri);
            spelled.is_some()
        }
    }
}

fn respell(uri: &Uri, mut path: String) -> Option<Uri> {
    if let Some(query) = uri.query() {
        path.push('?');
        path.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path.try_into().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_alone_is_spelled_anew() {
        for (uri, spelled) in [
            ("/a/../b?x=/../y&%61", "/b?x=/../y&%61"),
            ("http://web/a/%2e%2e/b", "http://web/b"),
            ("http://web", "http://web/"),
            ("/a/..?", "/?"),
            ("/a//b?q", "/a//b?q"),
            ("*", "*"),
        ] {
            let mut request = Request::builder().uri(uri).body(()).unwrap();
            assert!(normalise(&mut request), "{uri}");
            assert_eq!(request.uri().to_string(), spelled);
        }
        let mut connect = Request::builder().method("CONNECT").uri("web:80").body(()).unwrap();
        assert!(normalise(&mut connect));
        assert_eq!(connect.uri().to_string(), "web:80");
    }
}
