//! The documents of one file.

use serde_json::Value;

/// One document, or why it is none.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its place in the file, counted from 1.
    pub number: usize,
    /// The line it begins on, counted from 1.
    pub line: usize,
    /// What it says. `Value::Null`: nothing, which is no fault.
    pub content: Result<Value, String>,
}

/// The documents of a YAML or JSON text. They are told apart before any is parsed, so that a bad one
/// costs the others nothing. A `List` is taken apart into its items.
pub fn split_documents(text: &str) -> Vec<Document> {
    let mut documents = Vec::new();
    let mut begin = (1, 0);
    let mut offset = 0;
    for (i, line) in text.split_inclusive('\n').enumerate() {
        let bare = line.trim_end();
        let marker = bare == "---" || bare.starts_with("--- ");
        if marker || bare == "..." {
            add(&mut documents, begin.0, &text[begin.1..offset]);
            // What follows the dashes on their line belongs to the document.
            let behind = if marker { 3 } else { bare.len() };
            begin = (i + 1, offset + behind);
        }
        offset += line.len();
    }
    add(&mut documents, begin.0, &text[begin.1..]);
    documents
}

fn add(documents: &mut Vec<Document>, line: usize, text: &str) {
    let blank = |line: &str| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || line.starts_with('%')
    };
    if text.lines().all(blank) {
        return;
    }
    let number = documents.last().map_or(0, |last| last.number) + 1;
    let content = serde_saphyr::from_str_with_options::<Value>(text, options())
        .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned());
    match content {
        Ok(Value::Object(mut list)) if is_list(&list) => {
            let items = list.remove("items").unwrap_or_default();
            for item in items.as_array().into_iter().flatten() {
                documents.push(Document { number, line, content: Ok(item.clone()) });
            }
        }
        content => documents.push(Document { number, line, content }),
    }
}

/// YAML 1.2's core schema: `n` and `on` are texts, as Kubernetes' names may be.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! { strict_booleans: true }
}

fn is_list(object: &serde_json::Map<String, Value>) -> bool {
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    kind.ends_with("List") && object.get("items").is_some_and(Value::is_array)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_are_told_apart_and_a_bad_one_stands_alone() {
        let text = "# head\n---\na: 1\nb: \"true\"\n--- # two\n{\"a\": [true, null, 2.5]}\n---\n\n---\na: [\n---\na: 2\n...\n";
        let documents = split_documents(text);
        let contents: Vec<_> = documents.iter().map(|d| d.content.clone().ok()).collect();
        assert_eq!(
            contents,
            [
                Some(json!({"a": 1, "b": "true"})),
                Some(json!({"a": [true, null, 2.5]})),
                None,
                Some(json!({"a": 2}))
            ]
        );
        let places: Vec<_> = documents.iter().map(|d| (d.number, d.line)).collect();
        assert_eq!(places, [(1, 2), (2, 5), (3, 9), (4, 11)]);
    }

    #[test]
    fn a_list_is_its_items() {
        let documents = split_documents("kind: List\nitems:\n- {kind: A}\n- {kind: B}\n");
        assert_eq!(documents.len(), 2);
        assert_eq!(documents[1].content, Ok(json!({"kind": "B"})));
    }

    proptest! {
        #[test]
        fn no_garbage_disturbs_its_neighbours(garbage in "[ -~\n\t]{0,80}") {
            prop_assume!(!garbage.contains("---") && !garbage.contains("..."));
            let text = format!("a: 1\n---\n{garbage}\n---\nb: 2\n");
            let documents = split_documents(&text);
            prop_assert_eq!(&documents[0].content, &Ok(json!({"a": 1})));
            let last = &documents[documents.len() - 1].content;
            prop_assert_eq!(last, &Ok(json!({"b": 2})));
        }
    }
}
