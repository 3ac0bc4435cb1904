//! The CRD and what is read of a BackendPolicy are one: the same fields, within the same bounds.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;

/// A field of the schema: the names that lead to it, `[]` for a list's items, and what is said of it.
struct Node {
    path: Vec<String>,
    schema: Value,
}

fn crd() -> Value {
    let text = include_str!("../../../../deploy/kustomize/crds/backendpolicies.yaml");
    serde_saphyr::from_str(text).unwrap()
}

/// All fields below `spec`.
fn nodes() -> Vec<Node> {
    fn walk(path: &[String], schema: &Value, all: &mut Vec<Node>) {
        all.push(Node { path: path.to_vec(), schema: schema.clone() });
        let below = |name: &str| [path, &[name.to_owned()]].concat();
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            walk(&below(name), schema, all);
        }
        if let Some(items) = schema.get("items") {
            walk(&below("[]"), items, all);
        }
    }
    let crd = crd();
    let schema = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").unwrap();
    let mut all = Vec::new();
    walk(&[], schema, &mut all);
    assert!(all.len() > 80, "{}", all.len());
    all
}

impl Node {
    /// As faults name it.
    fn field(&self) -> String {
        let named = |path: String, name: &String| match name.as_str() {
            "[]" => format!("{path}[0]"),
            name => format!("{path}.{name}"),
        };
        self.path.iter().fold("spec".to_owned(), named)
    }

    /// What is wrong with the field, if this value is all that the policy says besides its target.
    fn faults(&self, value: Value) -> Vec<String> {
        let spec = self.path.iter().rev().fold(value, |value, name| match name.as_str() {
            "[]" => json!([value]),
            name => json!({ name: value }),
        });
        let mut document = backend_policies::policy("");
        let fields = spec.as_object().cloned().unwrap_or_default();
        document["spec"].as_object_mut().unwrap().extend(fields);
        let whole = |fault: &Fault| {
            // Of one field in the light of another: that has its own tests.
            fault.field == self.field() && !fault.message.contains("must not be less than")
        };
        let faults = read(document).faults;
        faults.into_iter().filter(whole).map(|fault| fault.message).collect()
    }

    #[track_caller]
    fn takes(&self, value: Value) {
        let faults = self.faults(value.clone());
        assert!(faults.is_empty(), "{} {value}: {faults:?}", self.field());
    }

    #[track_caller]
    fn refuses(&self, value: Value) {
        assert!(!self.faults(value.clone()).is_empty(), "{} {value} is taken", self.field());
    }

    /// The bounds that a rule of the schema says.
    fn durations(&self) -> Option<(u64, u64)> {
        let rules = self.schema["x-kubernetes-validations"].as_array()?;
        let rule =
            rules.iter().find_map(|rule| rule["rule"].as_str()?.split_once("duration(self)"));
        let mut texts = rule?.1.split("duration('").skip(1).map(|text| {
            let text = text.split('\'').next().unwrap();
            u64::try_from(duration::duration(text).unwrap().as_millis()).unwrap()
        });
        Some((texts.next()?, texts.next()?))
    }
}

#[test]
fn every_field_of_the_schema_is_read_and_no_other() {
    for node in nodes().iter().filter(|node| node.schema["type"] == "object") {
        let path = [&node.path[..], &["zzz".into()]].concat();
        let unknown = Node { path, schema: Value::Null };
        let faults = unknown.faults(json!(1));
        let [fault] = &faults[..] else { panic!("{}: {faults:?}", node.field()) };
        let known = fault.strip_prefix("unknown; there are ").unwrap();
        let known: BTreeSet<&str> = known.split(", ").filter(|name| !name.is_empty()).collect();
        let properties = node.schema["properties"].as_object();
        let schema: BTreeSet<&str> =
            properties.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        assert_eq!(known, schema, "{}", node.field());
    }
}

#[test]
fn the_bounds_of_the_schema_are_the_bounds() {
    let mut tried = 0;
    for node in nodes() {
        let schema = &node.schema;
        let before = tried;
        if let Some((least, most)) = node.durations() {
            tried += 1;
            let text = |ms: u64| {
                json!(format!(
                    "{}h{}m{}s{}ms",
                    ms / 3_600_000,
                    ms / 60_000 % 60,
                    ms / 1_000 % 60,
                    ms % 1_000
                ))
            };
            node.takes(text(least));
            node.takes(text(most));
            node.refuses(text(most + 1));
            if least > 0 {
                node.refuses(text(least - 1));
            }
            node.refuses(json!(10));
        } else if schema["type"] == "integer" {
            tried += 1;
            let (least, most) = (&schema["minimum"], &schema["maximum"]);
            node.takes(least.clone());
            node.takes(most.clone());
            node.refuses(json!(least.as_i64().unwrap() - 1));
            node.refuses(json!(most.as_i64().unwrap() + 1));
            node.refuses(json!("1"));
        } else if schema["type"] == "number" {
            tried += 1;
            let (least, most) = (&schema["minimum"], &schema["maximum"]);
            node.takes(least.clone());
            node.takes(most.clone());
            node.refuses(json!(least.as_f64().unwrap() - 0.01));
            node.refuses(json!(most.as_f64().unwrap() + 0.01));
        } else if let Some(words) = schema["enum"].as_array() {
            tried += 1;
            words.iter().for_each(|word| node.takes(word.clone()));
            node.refuses(json!("Nothing"));
        } else if schema["type"] == "string" {
            tried += 1;
            let most = usize::try_from(schema["maxLength"].as_u64().unwrap()).unwrap();
            let first = if schema["pattern"].as_str().is_some_and(|p| p.starts_with("^/")) {
                "/"
            } else {
                "a"
            };
            let text = |length: usize| json!(first.to_owned() + &"a".repeat(length - 1));
            if !node.path.ends_with(&["cidr".to_owned()]) {
                node.takes(text(most));
            }
            node.refuses(text(most + 1));
            node.refuses(json!(""));
        } else if schema["type"] == "boolean" {
            tried += 1;
            node.takes(json!(true));
            node.refuses(json!("true"));
        } else if schema["type"] == "array" {
            tried += 1;
            let most = usize::try_from(schema["maxItems"].as_u64().unwrap()).unwrap();
            if node.path != ["targetRefs"] {
                node.takes(json!([]));
            }
            node.refuses(Value::from_iter(std::iter::repeat_n(json!({}), most + 1)));
            node.refuses(json!({}));
        } else if schema["x-kubernetes-int-or-string"] == true {
            tried += 1;
            for good in [json!(100), json!(599), json!("200-299"), json!("404")] {
                node.takes(good);
            }
            for bad in [json!(99), json!(600), json!("2xx"), json!("200-"), json!("299-200")] {
                node.refuses(bad);
            }
        } else if schema["type"] == "object" {
            tried += 1;
            if !node.path.is_empty() {
                node.refuses(json!("text"));
            }
        }
        assert_eq!(tried, before + 1, "{}: nobody knows how to try it", node.field());
    }
}

#[test]
fn the_page_tells_every_field() {
    let page = include_str!("../../../../docs/backend-policy.md");
    let names = nodes().into_iter().filter_map(|node| node.path.last().cloned());
    for name in names.filter(|name| name != "[]") {
        // In code, alone or with what stands before it.
        let told = page
            .split('`')
            .skip(1)
            .step_by(2)
            .any(|code| code.split(['.', '[', ']', ':', ' ']).any(|word| word == name));
        assert!(
            told || page.contains(&format!("\n## {name}\n"))
                || page.contains(&format!("  {name}: ")),
            "{name}"
        );
    }
}

#[test]
fn the_charts_crd_is_the_same() {
    let chart = include_str!("../../../../deploy/chart/crds/backendpolicies.yaml");
    assert!(chart == include_str!("../../../../deploy/kustomize/crds/backendpolicies.yaml"));
    let crd = crd();
    assert_eq!(
        crd.pointer("/metadata/labels/gateway.networking.k8s.io~1policy").unwrap(),
        "Direct"
    );
}
