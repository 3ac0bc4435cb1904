//! The question that `/explain` is asked: what is posted to it, and what `nodeway explain` posts.
//!
//! Its fields are a contract (docs/explain.md).

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use nodeway_core::model::ObjectName;
use nodeway_core::snapshot::explain::Question;
use serde::{Deserialize, Serialize};

/// A request that is to be explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Asked {
    /// `namespace/name` of the pod that asks.
    pub from: String,
    /// `GET` if absent.
    #[serde(default)]
    pub method: Option<String>,
    /// What it asks for.
    pub url: String,
    /// Names and values.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
}

// === impl Asked ===

impl Asked {
    /// The same, parsed.
    ///
    /// # Errors
    /// What cannot be, for people.
    pub fn question(&self) -> Result<Question, String> {
        let from = match self.from.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
                ObjectName::new(namespace, name)
            }
            _ => return Err(format!("{:?}: must be NAMESPACE/POD", self.from)),
        };
        let method = self.method.as_deref().unwrap_or("GET");
        let method: Method =
            method.parse().map_err(|_| format!("{method:?}: is no HTTP method"))?;
        // As curl has it: without a scheme it is HTTP.
        let url = if self.url.contains("://") {
            self.url.clone()
        } else {
            format!("http://{}", self.url)
        };
        let url: Uri = url.parse().map_err(|error| format!("{:?}: {error}", self.url))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name: HeaderName =
                name.parse().map_err(|_| format!("{name:?}: is no name of a header"))?;
            let value: HeaderValue =
                value.parse().map_err(|_| format!("{value:?}: cannot stand in a header"))?;
            headers.append(name, value);
        }
        Ok(Question { from, method, url, headers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(from: &str, method: &str, url: &str, header: (&str, &str)) -> Asked {
        let headers = vec![(header.0.to_owned(), header.1.to_owned())];
        Asked { from: from.into(), method: Some(method.into()), url: url.into(), headers }
    }

    #[test]
    fn what_cannot_be_asked_is_told() {
        let good = asked("shop/client", "GET", "web/api?q=1", ("X-A", "1")).question().unwrap();
        assert_eq!(good.url.to_string(), "http://web/api?q=1");
        assert_eq!(good.headers["x-a"], "1");
        for (bad, word) in [
            (asked("client", "GET", "http://web", ("a", "b")), "NAMESPACE/POD"),
            (asked("/client", "GET", "http://web", ("a", "b")), "NAMESPACE/POD"),
            (asked("shop/client", "G T", "http://web", ("a", "b")), "no HTTP method"),
            (asked("shop/client", "GET", "http://we b", ("a", "b")), "we b"),
            (asked("shop/client", "GET", "http://web", ("a b", "b")), "name of a header"),
            (asked("shop/client", "GET", "http://web", ("a", "b\n")), "stand in a header"),
        ] {
            let told = bad.question().unwrap_err();
            assert!(told.contains(word), "{told}");
        }
    }
}
