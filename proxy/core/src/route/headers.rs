//! What a header filter does.

use http::HeaderMap;

use crate::model::HeaderModifier;

// === impl HeaderModifier ===

impl HeaderModifier {
    /// Changes `headers`: `set`, then `add`, then `remove` (the order of the fields in Gateway API's
    /// `HTTPHeaderFilter`). Of several entries of one name in a list the first counts, as there.
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

    /// Without the entries that repeat an earlier one's name in the same list.
    pub(super) fn first_of_each_name(mut self) -> Self {
        for list in [&mut self.set, &mut self.add] {
            let mut seen = Vec::with_capacity(list.len());
            list.retain(|(name, _)| {
                let new = !seen.contains(name);
                seen.push(name.clone());
                new
            });
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn entry(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    }

    #[test]
    fn sets_adds_and_removes() {
        let mut headers: HeaderMap =
            [entry("a", "1"), entry("a", "2"), entry("b", "1"), entry("c", "1")].into_iter().fold(
                HeaderMap::new(),
                |mut map, (name, value)| {
                    map.append(name, value);
                    map
                },
            );
        let modifier = HeaderModifier {
            set: vec![entry("a", "3"), entry("d", "1")],
            add: vec![entry("b", "2"), entry("d", "2")],
            remove: vec![HeaderName::from_static("c"), HeaderName::from_static("none")],
        };
        modifier.apply(&mut headers);
        let values = |name: &str| {
            headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(values("a"), ["3"]);
        assert_eq!(values("b"), ["1", "2"]);
        assert!(values("c").is_empty());
        assert_eq!(values("d"), ["1", "2"]);
    }

    #[test]
    fn of_entries_that_share_a_name_the_first_counts() {
        let modifier = HeaderModifier {
            set: vec![entry("a", "1"), entry("a", "2")],
            add: vec![entry("b", "1"), entry("b", "2"), entry("a", "3")],
            remove: vec![],
        };
        let modifier = modifier.first_of_each_name();
        assert_eq!(modifier.set, [entry("a", "1")]);
        assert_eq!(modifier.add, [entry("b", "1"), entry("a", "3")]);
    }
}
