//! What our verdicts are called in the Gateway API, and which parent of the spec each is about. Pure.

use nodeway_core::model::{ObjectName, ParentRef, RefFault};
use nodeway_core::snapshot::{NotAccepted, RouteStatus};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::parents::{Verdict, Wanted};

/// A message is for people: nobody reads more. (The API takes 32 768 octets.)
const MOST_MESSAGE: usize = 4096;

/// One of `spec.parentRefs`, as far as it tells whose it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference<'a> {
    #[serde(borrow, default)]
    group: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default)]
    kind: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default)]
    namespace: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default)]
    name: std::borrow::Cow<'a, str>,
    #[serde(default)]
    port: Option<i64>,
    #[serde(borrow, default)]
    section_name: Option<std::borrow::Cow<'a, str>>,
}

/// Whether one of `spec.parentRefs` (JSON) is a Service.
pub(super) fn any_service(references: &str) -> bool {
    let all: Vec<&RawValue> = serde_json::from_str(references).unwrap_or_default();
    all.iter().any(|text| Reference::of(text).is_some_and(|reference| reference.is_service()))
}

/// What is to be said of each parent, by `spec.parentRefs` (JSON) of the route `name`; nothing if the
/// verdicts are about another spec than this.
pub(super) fn wanted(
    status: &RouteStatus,
    name: &ObjectName,
    references: &str,
) -> Option<Vec<Wanted>> {
    let all: Vec<&RawValue> = serde_json::from_str(references).unwrap_or_default();
    let mut wanted = Vec::with_capacity(status.parents.len());
    for parent in &status.parents {
        let text = *all.get(parent.parent.place)?;
        Reference::of(text).filter(|reference| reference.is(&parent.parent, name))?;
        let accepted = match &parent.accepted {
            Ok(()) => good("Accepted", "Accepted", "The route is in force for this Service."),
            Err((why, message)) => bad("Accepted", not_accepted(*why), message),
        };
        let resolved = match &parent.resolved_refs {
            Ok(()) => good("ResolvedRefs", "ResolvedRefs", "All references are resolved."),
            Err((why, message)) => bad("ResolvedRefs", not_resolved(*why), message),
        };
        let conditions = [accepted, resolved].into();
        wanted.push(Wanted { reference: text.to_owned(), conditions });
    }
    Some(wanted)
}

/// `text`, or its beginning, if it is longer than `most` octets.
pub(super) fn shortened(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most.saturating_sub(3)).rev().find(|end| text.is_char_boundary(*end));
    format!("{}...", &text[..end.unwrap_or(0)])
}

pub(super) fn good(condition: &'static str, reason: &'static str, message: &str) -> Verdict {
    Verdict { condition, holds: true, reason, message: message.to_owned() }
}

pub(super) fn bad(condition: &'static str, reason: &'static str, message: &str) -> Verdict {
    Verdict { condition, holds: false, reason, message: shortened(message, MOST_MESSAGE) }
}

fn not_accepted(why: NotAccepted) -> &'static str {
    match why {
        NotAccepted::NoMatchingParent => "NoMatchingParent",
        NotAccepted::Conflicted => "Conflicted",
        NotAccepted::UnsupportedValue => "UnsupportedValue",
    }
}

fn not_resolved(why: RefFault) -> &'static str {
    match why {
        RefFault::RefNotPermitted => "RefNotPermitted",
        RefFault::InvalidKind => "InvalidKind",
        RefFault::BackendNotFound => "BackendNotFound",
    }
}

// === impl Reference ===

impl<'a> Reference<'a> {
    fn of(text: &'a RawValue) -> Option<Self> {
        serde_json::from_str(text.get()).ok()
    }

    fn is_service(&self) -> bool {
        matches!(self.group.as_deref(), Some("" | "core"))
            && self.kind.as_deref() == Some("Service")
    }

    /// Whether it is the one that was judged, of a route of this name.
    fn is(&self, parent: &ParentRef, route: &ObjectName) -> bool {
        let namespace = self.namespace.as_deref().unwrap_or(&route.namespace);
        let section = self.section_name.as_deref().filter(|section| !section.is_empty());
        self.is_service()
            && *self.name == *parent.service.name
            && *namespace == *parent.service.namespace
            && self.namespace.is_some() == parent.namespaced
            && self.port == parent.port.map(i64::from)
            && section == parent.section.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use nodeway_core::snapshot::ParentStatus;
    use serde_json::json;

    use super::*;

    fn route() -> ObjectName {
        ObjectName::new("shop", "route")
    }

    fn status(parent: ParentRef) -> RouteStatus {
        let accepted = Err((NotAccepted::NoMatchingParent, "no".into()));
        let resolved_refs = Err((RefFault::RefNotPermitted, "never".into()));
        RouteStatus {
            generation: 3,
            parents: vec![ParentStatus { parent, accepted, resolved_refs }],
        }
    }

    #[test]
    fn a_parent_is_named_as_the_spec_names_it() {
        let mut parent = ParentRef::new(ObjectName::new("shop", "web"));
        (parent.place, parent.namespaced, parent.port) = (1, false, Some(80));
        let reference = r#"{"kind":"Service", "group":"core","name":"web","port":80}"#;
        let references = format!(r#"[{{"name":"gateway"}},{reference}]"#);
        let wanted = wanted(&status(parent), &route(), &references).unwrap();
        assert_eq!(wanted[0].reference.get(), reference);
        let [accepted, resolved] = &*wanted[0].conditions else { panic!("{wanted:?}") };
        assert_eq!((accepted.holds, accepted.reason), (false, "NoMatchingParent"));
        assert_eq!((resolved.reason, &*resolved.message), ("RefNotPermitted", "never"));
    }

    #[test]
    fn verdicts_on_another_spec_say_nothing_of_this_one() {
        let right = json!({"group": "", "kind": "Service", "namespace": "shop", "name": "web"});
        let parent = ParentRef::new(ObjectName::new("shop", "web"));
        let told = |reference: &serde_json::Value| {
            wanted(&status(parent.clone()), &route(), &json!([reference]).to_string()).is_some()
        };
        assert!(told(&right));
        for (field, value) in [
            ("group", json!("gateway.networking.k8s.io")),
            ("kind", json!("Gateway")),
            ("namespace", json!("other")),
            ("namespace", json!(null)),
            ("name", json!("other")),
            ("port", json!(80)),
            ("sectionName", json!("http")),
        ] {
            let mut other = right.clone();
            other[field] = value;
            assert!(!told(&other), "{other}");
        }
        assert!(wanted(&status(parent), &route(), "[]").is_none());
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("ääääää", 10), "äää...");
        assert_eq!(shortened("abcdefgh", 6), "abc...");
    }
}
