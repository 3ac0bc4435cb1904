//! Filters in words.
//!
//! What they do is `route`'s; here is only how they are called.

use http::{HeaderName, HeaderValue};

use crate::model::{
    Allowed, AllowedOrigin, BackendTarget, Cors, Filter, HeaderModifier, Mirror, PathModifier,
    Redirect, Rewrite,
};

/// One filter, for people.
pub(super) fn text(filter: &Filter) -> String {
    match filter {
        Filter::RequestHeaders(modifier) => format!("request headers: {}", headers(modifier)),
        Filter::ResponseHeaders(modifier) => format!("response headers: {}", headers(modifier)),
        Filter::Redirect(redirect) => redirected(redirect),
        Filter::Rewrite(rewrite) => rewritten(rewrite),
        Filter::Mirror(mirror) => mirrored(mirror),
        Filter::Cors(cors) => crossing(cors),
        Filter::Invalid { message, .. } => format!("not understood: {message}"),
    }
}

fn headers(modifier: &HeaderModifier) -> String {
    let field = |verb: &str, (name, value): &(HeaderName, HeaderValue)| {
        format!("{verb} {name}: {}", String::from_utf8_lossy(value.as_bytes()))
    };
    let set = modifier.set.iter().map(|entry| field("set", entry));
    let add = modifier.add.iter().map(|entry| field("add", entry));
    let remove = modifier.remove.iter().map(|name| format!("remove {name}"));
    set.chain(add).chain(remove).collect::<Vec<_>>().join(", ")
}

fn path(modifier: &PathModifier) -> String {
    match modifier {
        PathModifier::Full(path) => format!("path {path}"),
        PathModifier::Prefix(path) => format!("path prefix {path}"),
    }
}

fn redirected(redirect: &Redirect) -> String {
    let Redirect { scheme, hostname, port, path: to, status } = redirect;
    let mut text = format!("redirect with {}", status.as_u16());
    let parts = [
        scheme.as_ref().map(|scheme| format!("scheme {scheme}")),
        hostname.as_ref().map(|host| format!("host {host}")),
        port.map(|port| format!("port {port}")),
        to.as_ref().map(path),
    ];
    for part in parts.into_iter().flatten() {
        text.push_str(", ");
        text.push_str(&part);
    }
    text
}

fn rewritten(rewrite: &Rewrite) -> String {
    let host = rewrite.hostname.as_ref().map(|h| String::from_utf8_lossy(h.as_bytes()));
    let parts = [host.map(|host| format!("host {host}")), rewrite.path.as_ref().map(path)];
    format!("rewrite: {}", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

fn mirrored(mirror: &Mirror) -> String {
    let to = match &mirror.target {
        BackendTarget::Service { service, port } => format!("Service {service}, port {port}"),
        BackendTarget::Invalid { message, .. } => format!("nobody: {message}"),
    };
    match mirror.share {
        (part, whole) if part == whole => format!("mirror to {to}"),
        (part, whole) => format!("mirror {part} of {whole} to {to}"),
    }
}

fn crossing(cors: &Cors) -> String {
    let origins = cors.origins.iter().map(|origin| match origin {
        AllowedOrigin::Any => "*".to_owned(),
        AllowedOrigin::Exact(origin) => origin.to_string(),
        AllowedOrigin::Wildcard { before, behind } => format!("{before}*{behind}"),
    });
    let origins: Vec<String> = origins.collect();
    let methods = match &cors.methods {
        Allowed::Any => "all methods".to_owned(),
        Allowed::These(methods) => {
            methods.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
    };
    format!("CORS for {}; {methods}", origins.join(" "))
}
