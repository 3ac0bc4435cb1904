//! What a rewrite makes of a request's host and path.

use http::header::HOST;
use http::uri::{Authority, PathAndQuery};
use http::{Request, Uri};

use super::plan::Context;
use crate::model::Rewrite;

/// A rewrite, ready to be applied.
#[derive(Debug)]
pub struct Rewriter {
    /// What it was made of.
    pub spec: Rewrite,
    authority: Option<Authority>,
}

// === impl Rewriter ===

impl Rewriter {
    pub(super) fn new(spec: &Rewrite) -> Self {
        let host = spec.hostname.as_ref();
        let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
        Self { spec: spec.clone(), authority }
    }

    /// Rewrites `request`, wherever it names its host: in `Host` (HTTP/1), in its target (HTTP/2, and the
    /// absolute form of HTTP/1), or in both. `context` is then that of the path as it has become.
    pub(super) fn apply<B>(&self, request: &mut Request<B>, context: &mut Context) {
        if let Some(host) = &self.spec.hostname {
            if request.uri().authority().is_none() || request.headers().contains_key(HOST) {
                request.headers_mut().insert(HOST, host.clone());
            }
            self.target(request, |parts| {
                if parts.authority.is_some()
                    && let Some(authority) = &self.authority
                {
                    parts.authority = Some(authority.clone());
                }
            });
        }
        if let Some(path) = &self.spec.path
            && request.uri().path().starts_with('/')
            && request.uri().path_and_query().is_some()
        {
            let changed = {
                let uri = request.uri();
                let path = path.apply(uri.path(), context.prefix);
                match uri.query() {
                    Some(query) => [&path, "?", query].concat(),
                    None => path.into_owned(),
                }
            };
            if let Ok(changed) = PathAndQuery::try_from(changed) {
                self.target(request, |parts| parts.path_and_query = Some(changed));
                context.prefix = path.prefix_after(context.prefix);
            }
        }
    }

    fn target<B>(&self, request: &mut Request<B>, change: impl FnOnce(&mut http::uri::Parts)) {
        let mut parts = request.uri().clone().into_parts();
        change(&mut parts);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::model::PathModifier;

    fn rewritten(rewrite: &Rewrite, uri: &str, host: Option<&str>) -> (String, String) {
        let mut request = Request::get(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let mut request = request.body(()).unwrap();
        Rewriter::new(rewrite).apply(&mut request, &mut Context { prefix: Some(2), port: 80 });
        let host = request.headers().get(HOST).map_or("", |host| host.to_str().unwrap());
        (request.uri().to_string(), host.to_owned())
    }

    #[test]
    fn the_host_is_rewritten_wherever_it_stands() {
        let rewrite =
            Rewrite { hostname: Some(HeaderValue::from_static("other.example")), path: None };
        let both = |uri: &str, host| rewritten(&rewrite, uri, host);
        let other = "other.example".to_owned();
        assert_eq!(both("/a?b", Some("web:81")), ("/a?b".into(), other.clone()));
        assert_eq!(both("/a?b", None), ("/a?b".into(), other.clone()));
        assert_eq!(both("http://web:81/a?b", None), ("http://other.example/a?b".into(), "".into()));
        assert_eq!(both("http://web/", Some("web")), ("http://other.example/".into(), other));
    }

    #[test]
    fn the_path_is_rewritten_and_the_query_stays() {
        let full = Rewrite { hostname: None, path: Some(PathModifier::Full("/new".into())) };
        assert_eq!(rewritten(&full, "/a/b?c=/a", Some("web")), ("/new?c=/a".into(), "web".into()));
        let prefix = Rewrite { hostname: None, path: Some(PathModifier::Prefix("/new".into())) };
        assert_eq!(rewritten(&prefix, "/a/b?c=/a", None).0, "/new/b?c=/a");
        assert_eq!(rewritten(&prefix, "http://web/a?", None).0, "http://web/new?");
        let strip = Rewrite { hostname: None, path: Some(PathModifier::Prefix("/".into())) };
        assert_eq!(rewritten(&strip, "/a//elsewhere/", None).0, "//elsewhere/");
        assert_eq!(rewritten(&full, "*", Some("web")).0, "*");
    }

    proptest! {
        #[test]
        fn a_rewrite_touches_nothing_but_what_it_names(
            path in "/a(/[a-zA-Z0-9._~!$&'()*+,;=:@%-]{0,6}){0,4}", query in proptest::option::of("[a-z0-9=&%/?]{0,12}"),
        ) {
            let uri = query.as_ref().map_or(path.clone(), |query| format!("{path}?{query}"));
            let nothing = rewritten(&Rewrite::default(), &uri, Some("web"));
            prop_assert_eq!(nothing, (uri, "web".to_owned()));
            let full = Rewrite { hostname: None, path: Some(PathModifier::Full("/n".into())) };
            let uri = query.as_ref().map_or("/n".to_owned(), |query| format!("/n?{query}"));
            let before = query.as_ref().map_or(path.clone(), |query| format!("{path}?{query}"));
            prop_assert_eq!(rewritten(&full, &before, Some("web")).0, uri);
        }
    }
}
