//! What a path leads to.

use std::collections::BTreeMap;

use http::Uri;
use percent_encoding::percent_decode_str;

use crate::kinds::Resource;

/// A collection or an object.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) resource: Resource,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
    pub(crate) query: BTreeMap<String, String>,
}

// === impl Target ===

impl Target {
    /// `/api/VERSION/...` or `/apis/GROUP/VERSION/...`.
    pub(crate) fn of(uri: &Uri, resources: &[Resource]) -> Option<Self> {
        let path: Vec<String> =
            uri.path().split('/').filter(|part| !part.is_empty()).map(decode).collect();
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let (group, version, rest) = match &path[..] {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() && rest[0] != "status" => {
                (Some((*namespace).to_owned()), rest)
            }
            _ => (None, rest),
        };
        let (plural, rest) = rest.split_first()?;
        let resource = resources.iter().find(|resource| {
            resource.group == group && resource.version == version && resource.plural == *plural
        })?;
        let text = |at: usize| rest.get(at).map(|part| (*part).to_owned());
        Some(Self {
            resource: resource.clone(),
            namespace,
            name: text(0),
            subresource: text(1),
            query: query(uri),
        })
    }

    pub(crate) fn query(&self, key: &str) -> &str {
        self.query.get(key).map_or("", String::as_str)
    }

    pub(crate) fn asks(&self, key: &str) -> bool {
        matches!(self.query(key), "true" | "1")
    }
}

fn query(uri: &Uri) -> BTreeMap<String, String> {
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(key, value)| (decode(key), decode(&value.replace('+', " ")))).collect()
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
