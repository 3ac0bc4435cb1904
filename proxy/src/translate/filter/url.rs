//! RequestRedirect and URLRewrite: what changes in a URL.

use gateway_api::experimental::httproutes::{
    HttpRouteRulesFiltersRequestRedirect, HttpRouteRulesFiltersRequestRedirectPath,
    HttpRouteRulesFiltersRequestRedirectPathType, HttpRouteRulesFiltersRequestRedirectScheme,
    HttpRouteRulesFiltersUrlRewrite,
};
use http::uri::Scheme;
use http::{HeaderValue, StatusCode};
use nodeway_core::model::{PathModifier, Redirect, Rewrite};

use super::alike;
use crate::translate::Faults;
use crate::translate::meta::{MAX_PATH, is_dns_name, is_of_path, port};

pub(super) fn redirect(
    spec: &HttpRouteRulesFiltersRequestRedirect,
    field: &str,
    faults: &mut Faults,
) -> Option<Redirect> {
    let scheme = spec.scheme.as_ref().map(|scheme| match scheme {
        HttpRouteRulesFiltersRequestRedirectScheme::Http => Scheme::HTTP,
        HttpRouteRulesFiltersRequestRedirectScheme::Https => Scheme::HTTPS,
    });
    let hostname = match &spec.hostname {
        Some(name) => Some(faults.check(format!("{field}.hostname"), name, hostname(name))?.into()),
        None => None,
    };
    let port = match spec.port {
        Some(number) => Some(faults.check(format!("{field}.port"), number, port(number))?),
        None => None,
    };
    let path = match &spec.path {
        Some(path) => Some(path_modifier(path, &format!("{field}.path"), faults)?),
        None => None,
    };
    let status = spec.status_code.unwrap_or(302);
    let status = faults.check(format!("{field}.statusCode"), status, redirection(status))?;
    Some(Redirect { scheme, hostname, port, path, status })
}

pub(super) fn rewrite(
    spec: &HttpRouteRulesFiltersUrlRewrite,
    field: &str,
    faults: &mut Faults,
) -> Option<Rewrite> {
    let hostname = match &spec.hostname {
        Some(name) => {
            let value = hostname(name).map(HeaderValue::from_str);
            let value = faults.check(format!("{field}.hostname"), name, value)?;
            Some(faults.check(format!("{field}.hostname"), name, value)?)
        }
        None => None,
    };
    let path = match &spec.path {
        Some(path) => {
            let field = format!("{field}.path");
            let path = faults.check(&field, "path", alike(path))?;
            Some(path_modifier(&path, &field, faults)?)
        }
        None => None,
    };
    Some(Rewrite { hostname, path })
}

fn path_modifier(
    spec: &HttpRouteRulesFiltersRequestRedirectPath,
    field: &str,
    faults: &mut Faults,
) -> Option<PathModifier> {
    use HttpRouteRulesFiltersRequestRedirectPathType as Type;
    let full = ("replaceFullPath", &spec.replace_full_path);
    let prefix = ("replacePrefixMatch", &spec.replace_prefix_match);
    let (kind, wanted, other) = match spec.r#type {
        Type::ReplaceFullPath => ("ReplaceFullPath", full, prefix),
        Type::ReplacePrefixMatch => ("ReplacePrefixMatch", prefix, full),
    };
    if other.1.is_some() {
        faults.add(format!("{field}.{}", other.0), format!("given with type {kind}"));
        return None;
    }
    let field = format!("{field}.{}", wanted.0);
    let Some(path) = wanted.1 else {
        faults.add(field, format!("missing for type {kind}"));
        return None;
    };
    faults.check(&field, path, new_path(path))?;
    Some(match spec.r#type {
        Type::ReplaceFullPath => PathModifier::Full(path.as_str().into()),
        Type::ReplacePrefixMatch => PathModifier::Prefix(path.as_str().into()),
    })
}

/// The schema takes anything of this length; what is not a path would make of the request another one.
fn new_path(path: &str) -> Result<(), &'static str> {
    if path.len() > MAX_PATH {
        Err("longer than 1024 octets")
    } else if !path.is_empty() && !path.starts_with('/') {
        Err("must begin with \"/\", or be empty")
    } else if path.contains(['?', '#']) {
        Err("a path has no query and no fragment")
    } else if !path.chars().all(is_of_path) {
        Err("has characters that must be percent-encoded in a path")
    } else {
        Ok(())
    }
}

/// A host's full name in lower case.
fn hostname(name: &str) -> Result<&str, &'static str> {
    let wrong = "must be a host's name in lower case, without a port and without a wildcard";
    is_dns_name(name).then_some(name).ok_or(wrong)
}

fn redirection(status: i64) -> Result<StatusCode, &'static str> {
    match status {
        301 => Ok(StatusCode::MOVED_PERMANENTLY),
        302 => Ok(StatusCode::FOUND),
        303 => Ok(StatusCode::SEE_OTHER),
        307 => Ok(StatusCode::TEMPORARY_REDIRECT),
        308 => Ok(StatusCode::PERMANENT_REDIRECT),
        _ => Err("must be 301, 302, 303, 307 or 308"),
    }
}
