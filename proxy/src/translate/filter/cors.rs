//! CORS: which pages may ask for what.

use std::time::Duration;

use gateway_api::experimental::httproutes::HttpRouteRulesFiltersCors;
use http::{HeaderName, Method};
use nodeway_core::model::{Allowed, AllowedOrigin, Cors};

use crate::translate::Faults;

/// Gateway API, `HTTPCORSFilter`.
const MOST_NAMES: usize = 64;
const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// A filter; a fault in an entry is one of the whole.
pub(super) fn cors(
    spec: &HttpRouteRulesFiltersCors,
    field: &str,
    faults: &mut Faults,
) -> Option<Cors> {
    let origins =
        list(spec.allow_origins.as_ref(), &format!("{field}.allowOrigins"), faults, origin);
    let origins = match origins? {
        Allowed::Any => vec![AllowedOrigin::Any],
        Allowed::These(origins) => origins,
    };
    let field_of = |name: &str| format!("{field}.{name}");
    let methods = list(spec.allow_methods.as_ref(), &field_of("allowMethods"), faults, method)?;
    let headers = list(spec.allow_headers.as_ref(), &field_of("allowHeaders"), faults, header)?;
    let expose = list(spec.expose_headers.as_ref(), &field_of("exposeHeaders"), faults, header)?;
    let max_age = match spec.max_age {
        None => None,
        Some(seconds) => {
            let whole = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0);
            let whole = whole.ok_or("must be at least 1, in seconds");
            let whole = faults.check(field_of("maxAge"), seconds, whole)?;
            Some(Duration::from_secs(whole))
        }
    };
    let credentials = spec.allow_credentials.unwrap_or_default();
    Some(Cors { origins, credentials, methods, headers, expose, max_age })
}

/// `*` alone, or what `parse` makes of each.
fn list<T>(
    names: Option<&Vec<String>>,
    field: &str,
    faults: &mut Faults,
    parse: impl Fn(&str) -> Result<T, &'static str>,
) -> Option<Allowed<T>> {
    let names = names.map_or(&[][..], Vec::as_slice);
    if let [only] = names
        && only == "*"
    {
        return Some(Allowed::Any);
    }
    if names.len() > MOST_NAMES {
        faults.add(field, format!("{} entries: at most {MOST_NAMES}", names.len()));
        return None;
    }
    let mut these = Vec::with_capacity(names.len());
    for (i, name) in names.iter().enumerate() {
        let parsed = if name == "*" { Err("stands alone or not at all") } else { parse(name) };
        these.extend(faults.check(format!("{field}[{i}]"), name, parsed));
    }
    (these.len() == names.len()).then_some(Allowed::These(these))
}

fn method(name: &str) -> Result<Method, &'static str> {
    let known = METHODS.contains(&name).then(|| Method::from_bytes(name.as_bytes()).ok()).flatten();
    known.ok_or("must be a method of RFC 9110 in capitals, or \"*\"")
}

fn header(name: &str) -> Result<HeaderName, &'static str> {
    name.parse().map_err(|_| "must be a header's name, or \"*\"")
}

/// `scheme://host:port`, as browsers write it: in lower case, without the scheme's own port.
fn origin(text: &str) -> Result<AllowedOrigin, &'static str> {
    const WRONG: &str = "must be http:// or https:// with a host, whose first label may be \"*\", and \
                         perhaps a port; or \"*\"";
    let text = text.to_ascii_lowercase();
    let (scheme, authority) = text.split_once("://").ok_or(WRONG)?;
    let own_port = match scheme {
        "http" => "80",
        "https" => "443",
        _ => return Err(WRONG),
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if port.is_some_and(|port| !matches!(port.parse::<u16>(), Ok(1..)) || port.starts_with('+')) {
        return Err("the port must be from 1 to 65535");
    }
    let port = port.filter(|port| *port != own_port);
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
    };
    let name = |host: &str| host.split('.').all(label);
    if host == "*" {
        let before = format!("{scheme}://").into();
        return Ok(AllowedOrigin::Wildcard { before, behind: port.into() });
    }
    if let Some(rest) = host.strip_prefix("*.") {
        let behind = format!(".{rest}{port}").into();
        let before = format!("{scheme}://").into();
        return if name(rest) {
            Ok(AllowedOrigin::Wildcard { before, behind })
        } else {
            Err(WRONG)
        };
    }
    let address = host.starts_with('[') && host.ends_with(']');
    if name(host) || (address && host.parse::<http::uri::Authority>().is_ok()) {
        Ok(AllowedOrigin::Exact(format!("{scheme}://{host}{port}").into()))
    } else {
        Err(WRONG)
    }
}
