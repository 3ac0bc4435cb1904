//! Label and field selectors.

use serde_json::Value;

use crate::answer::Refusal;

/// What a list or a watch is limited to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selector {
    pub(crate) namespace: Option<String>,
    labels: Vec<Term>,
    fields: Vec<Term>,
}

#[derive(Debug, Clone)]
struct Term {
    key: String,
    wanted: Wanted,
}

#[derive(Debug, Clone)]
enum Wanted {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Missing,
}

// === impl Selector ===

impl Selector {
    /// Field selectors have no sets, and no value with a sign of theirs in it.
    pub(crate) fn new(
        namespace: Option<&str>,
        labels: &str,
        fields: &str,
    ) -> Result<Self, Refusal> {
        for term in fields.split(',').filter(|term| !term.is_empty()) {
            let value = term.split_once("!=").or_else(|| term.split_once("=="));
            let value = value.or_else(|| term.split_once('='));
            if value.is_none_or(|(_, value)| value.contains('=')) {
                let message = format!(
                    "unable to find \"fieldSelector\": invalid selector: '{fields}'; can't understand '{term}'"
                );
                return Err(Refusal::bad(message));
            }
        }
        Ok(Self {
            namespace: namespace.map(str::to_owned),
            labels: terms(labels),
            fields: terms(fields),
        })
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        let metadata = &object["metadata"];
        let here = |namespace: &String| metadata["namespace"].as_str() == Some(namespace);
        let label = |term: &Term| term.holds(metadata["labels"][&term.key].as_str());
        let field = |term: &Term| {
            let path = format!("/{}", term.key.replace('.', "/"));
            // The server takes an absent field for an empty one.
            term.holds(Some(object.pointer(&path).and_then(Value::as_str).unwrap_or_default()))
        };
        self.namespace.as_ref().is_none_or(here)
            && self.labels.iter().all(label)
            && self.fields.iter().all(field)
    }
}

// === impl Term ===

impl Term {
    fn holds(&self, value: Option<&str>) -> bool {
        match (&self.wanted, value) {
            (Wanted::In(values), Some(value)) => values.iter().any(|wanted| wanted == value),
            (Wanted::In(_) | Wanted::Exists, None) | (Wanted::Missing, Some(_)) => false,
            (Wanted::NotIn(values), Some(value)) => values.iter().all(|wanted| wanted != value),
            (Wanted::NotIn(_) | Wanted::Missing, None) | (Wanted::Exists, Some(_)) => true,
        }
    }
}

/// `a=b,c!=d,e in (f,g),h notin (i),j,!k`
fn terms(text: &str) -> Vec<Term> {
    let (mut terms, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices().chain([(text.len(), ',')]) {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                terms.extend(term(text[start..at].trim()));
                start = at + 1;
            }
            _ => {}
        }
    }
    terms
}

fn term(text: &str) -> Option<Term> {
    let set = |values: &str| {
        let values = values.trim().trim_start_matches('(').trim_end_matches(')');
        values.split(',').map(|value| value.trim().to_owned()).collect()
    };
    let (key, wanted) = if text.is_empty() {
        return None;
    } else if let Some((key, values)) = text.split_once(" notin ") {
        (key, Wanted::NotIn(set(values)))
    } else if let Some((key, values)) = text.split_once(" in ") {
        (key, Wanted::In(set(values)))
    } else if let Some((key, value)) = text.split_once("!=") {
        (key, Wanted::NotIn(vec![value.to_owned()]))
    } else if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        (key, Wanted::In(vec![value.to_owned()]))
    } else if let Some(key) = text.strip_prefix('!') {
        (key, Wanted::Missing)
    } else {
        (text, Wanted::Exists)
    };
    Some(Term { key: key.trim().to_owned(), wanted })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn terms_hold_together() {
        let object = json!({"metadata": {"name": "p", "namespace": "shop", "labels": {"app": "web", "tier": "front"}},
            "spec": {"nodeName": "n1"}});
        for (labels, fields, holds) in [
            ("", "", true),
            ("app=web,tier!=back", "spec.nodeName=n1", true),
            ("app in (web, api),tier notin (back)", "metadata.name==p", true),
            ("app,!gone", "spec.nodeName!=n2", true),
            ("app in (api)", "", false),
            ("gone", "", false),
            ("!app", "", false),
            ("", "spec.nodeName=n2", false),
            ("", "status.phase!=Running", true),
        ] {
            let selector = Selector::new(Some("shop"), labels, fields).unwrap();
            assert_eq!(selector.matches(&object), holds, "{labels} {fields}");
            assert!(!Selector::new(Some("bank"), labels, fields).unwrap().matches(&object));
        }
        for bad in ["metadata.name=a=b", "metadata.name=a,b", "metadata.name"] {
            assert_eq!(Selector::new(None, "", bad).unwrap_err().code, 400, "{bad}");
        }
    }
}
