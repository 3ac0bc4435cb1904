//! The answer of a redirect: where to ask instead.

use http::header::{HOST, LOCATION};
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Response, StatusCode};

use super::plan::Context;
use crate::model::Redirect;

// === impl Redirect ===

impl Redirect {
    /// The answer to `request`. The query stays. A request that names no host, or one that cannot stand
    /// in a URL, is answered with 400 if the redirect names none either.
    pub(super) fn answer<B>(&self, request: &Request<B>, context: Context) -> Response<()> {
        let mut response = Response::new(());
        match self.location(request, context) {
            Some(location) => {
                *response.status_mut() = self.status;
                response.headers_mut().insert(LOCATION, location);
            }
            None => *response.status_mut() = StatusCode::BAD_REQUEST,
        }
        response
    }

    fn location<B>(&self, request: &Request<B>, context: Context) -> Option<HeaderValue> {
        let asked = match self.hostname {
            Some(_) => None,
            None => Some(authority(request)?),
        };
        let host = self.hostname.as_deref().or(asked.as_ref().map(Authority::host))?;
        // Clients speak HTTP in the clear to their mesh.
        let scheme = self.scheme.as_ref().unwrap_or(&Scheme::HTTP);
        let own_port = if *scheme == Scheme::HTTPS { 443 } else { 80 };
        let dialled = if self.scheme.is_some() { own_port } else { context.port };
        let port = self.port.unwrap_or(dialled);
        let path = request.uri().path();
        let path = match &self.path {
            Some(modifier) => modifier.apply(path, context.prefix),
            None => path.into(),
        };
        let mut location = format!("{scheme}://{host}");
        if port != own_port {
            location.push(':');
            location.push_str(&port.to_string());
        }
        // Not the `*` of `OPTIONS *`, nor the nothing of CONNECT.
        if path.starts_with('/') {
            location.push_str(&path);
        } else {
            location.push('/');
        }
        if let Some(query) = request.uri().query() {
            location.push('?');
            location.push_str(query);
        }
        HeaderValue::try_from(location).ok()
    }
}

/// Whom the request is for, as it says.
fn authority<B>(request: &Request<B>) -> Option<Authority> {
    let host = || Authority::try_from(request.headers().get(HOST)?.as_bytes()).ok();
    request.uri().authority().cloned().or_else(host).filter(|a| !a.host().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PathModifier;

    const NOTHING: Redirect = Redirect {
        scheme: None,
        hostname: None,
        port: None,
        path: None,
        status: StatusCode::FOUND,
    };

    fn location(redirect: &Redirect, uri: &str, host: Option<&str>, port: u16) -> String {
        let mut request = Request::get(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let context = Context { prefix: Some(2), port };
        let response = redirect.answer(&request.body(()).unwrap(), context);
        let location = response.headers().get(LOCATION);
        location.map_or_else(
            || response.status().to_string(),
            |location| location.to_str().unwrap().to_owned(),
        )
    }

    #[test]
    fn what_is_not_given_is_the_requests_own_and_default_ports_are_left_out() {
        let host = || Redirect { hostname: Some("example.org".into()), ..NOTHING };
        let https = || Redirect { scheme: Some(Scheme::HTTPS), ..NOTHING };
        let http = || Redirect { scheme: Some(Scheme::HTTP), ..NOTHING };
        let port = |port| Redirect { port: Some(port), ..NOTHING };
        for (redirect, dialled, expected) in [
            (host(), 80, "http://example.org/a/b?c=d"),
            (host(), 8080, "http://example.org:8080/a/b?c=d"),
            (host(), 443, "http://example.org:443/a/b?c=d"),
            (https(), 8080, "https://web/a/b?c=d"),
            (http(), 8080, "http://web/a/b?c=d"),
            (port(80), 8080, "http://web/a/b?c=d"),
            (port(8443), 80, "http://web:8443/a/b?c=d"),
            (Redirect { port: Some(443), ..https() }, 80, "https://web/a/b?c=d"),
            (Redirect { port: Some(80), ..https() }, 80, "https://web:80/a/b?c=d"),
            (Redirect { port: Some(443), ..http() }, 80, "http://web:443/a/b?c=d"),
        ] {
            let told = location(&redirect, "/a/b?c=d", Some("web:8080"), dialled);
            assert_eq!(told, expected, "{redirect:?}");
        }
    }

    #[test]
    fn the_path_is_replaced_whole_or_by_prefix() {
        let full = Redirect { path: Some(PathModifier::Full("/new".into())), ..NOTHING };
        assert_eq!(location(&full, "/a/b?c", Some("web"), 80), "http://web/new?c");
        let prefix = Redirect { path: Some(PathModifier::Prefix("/new".into())), ..NOTHING };
        assert_eq!(location(&prefix, "/a/b?c", Some("web"), 80), "http://web/new/b?c");
    }

    #[test]
    fn the_host_is_what_the_request_says_wherever_it_says_it() {
        assert_eq!(location(&NOTHING, "http://one/x", Some("two"), 80), "http://one/x");
        assert_eq!(
            location(&NOTHING, "/x", Some("[2001:db8::1]:81"), 80),
            "http://[2001:db8::1]/x"
        );
        assert_eq!(location(&NOTHING, "/x", Some("user@web"), 80), "http://web/x");
        for bad in ["a b", "", "a/b"] {
            assert_eq!(location(&NOTHING, "/x", Some(bad), 80), "400 Bad Request", "{bad:?}");
        }
        assert_eq!(location(&NOTHING, "//elsewhere/x", None, 80), "400 Bad Request");
        let host = Redirect { hostname: Some("example.org".into()), ..NOTHING };
        assert_eq!(location(&host, "//elsewhere", None, 80), "http://example.org//elsewhere");
    }
}
