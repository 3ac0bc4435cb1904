//! Header modifiers.

use http::HeaderMap;

use crate::model::HeaderModifier;

impl HeaderModifier {
    /// Changes `headers`: sets, then adds, then removes (the order in which Gateway API lists them).
    pub fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
        for name in &self.remove {
            headers.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn set_overwrites_add_appends_remove_takes_away() {
        let field = |name: &'static str, value: &'static str| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let mut headers: HeaderMap =
            [field("a", "1"), field("b", "1"), field("c", "1")].into_iter().collect();
        let modifier = HeaderModifier {
            set: vec![field("a", "2")],
            add: vec![field("b", "2")],
            remove: vec![HeaderName::from_static("c")],
        };
        modifier.apply(&mut headers);
        assert_eq!(headers["a"], "2");
        assert_eq!(headers.get_all("b").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert!(!headers.contains_key("c"));
    }
}
