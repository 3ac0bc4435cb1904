//! The documents of one file.

use serde_json::Value;

/// One document of a file, not parsed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Document<'a> {
    /// Its place in the file, counted from 1; empty documents do not count.
    pub number: usize,
    /// The line it begins on, counted from 1.
    pub line: usize,
    /// What is written.
    pub text: &'a str,
}

/// One object of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Its place in the document's `items`, if that is a List.
    pub place: Option<usize>,
    /// What it says.
    pub content: Value,
}

/// The documents of a YAML or JSON text. They are told apart before any is parsed, so that a bad one
/// costs the others nothing.
pub fn split_documents(text: &str) -> Vec<Document<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    let mut begin = (1, 0);
    let mut offset = 0;
    for (i, line) in text.split_inclusive('\n').enumerate() {
        let bare = line.trim_end();
        let marker = bare == "---" || bare.starts_with("--- ") || bare.starts_with("---\t");
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

fn add<'a>(documents: &mut Vec<Document<'a>>, line: usize, text: &'a str) {
    let blank = |line: &str| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || line.starts_with('%')
    };
    if !text.lines().all(blank) {
        documents.push(Document { number: documents.len() + 1, line, text });
    }
}

// === impl Document ===

impl Document<'_> {
    /// The document's objects: itself, or the items of a List. Nothing at all (`null`) is no fault.
    ///
    /// # Errors
    /// It is no YAML; the line that is named is the file's.
    pub fn parse(&self) -> Result<Vec<Item>, String> {
        let content = serde_saphyr::from_str_with_options::<Value>(self.text, options());
        match content.map_err(|error| self.told(&error))? {
            Value::Null => Ok(Vec::new()),
            Value::Object(list) if is_list(&list) => Ok(items(list)),
            content => Ok(vec![Item { place: None, content }]),
        }
    }

    fn told(&self, error: &serde_saphyr::Error) -> String {
        let mut options = serde_saphyr::RenderOptions::default();
        options.line_offset = (self.line - 1) as u64;
        let text = error.without_snippet().render_with_options(options);
        text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
    }
}

/// YAML 1.2's core schema: `n` and `on` are texts, as Kubernetes' names may be. A List of all a
/// cluster's objects is one document: the size of the file bounds it well enough.
fn options() -> serde_saphyr::Options {
    let budget = serde_saphyr::budget! { max_events: 60_000_000, max_nodes: 20_000_000 };
    serde_saphyr::options! { strict_booleans: true, budget: budget }
}

fn is_list(object: &serde_json::Map<String, Value>) -> bool {
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    kind.ends_with("List") && object.get("items").is_some_and(Value::is_array)
}

/// The items of a `List`, or of a `ServiceList` and its like, whose items need not repeat the kind.
fn items(mut list: serde_json::Map<String, Value>) -> Vec<Item> {
    let Some(Value::Array(items)) = list.remove("items") else { return Vec::new() };
    let kind = list.get("kind").and_then(Value::as_str).and_then(|kind| kind.strip_suffix("List"));
    let of = kind.filter(|kind| !kind.is_empty()).map(Value::from);
    let version = list.get("apiVersion").cloned();
    let item = |(i, mut content): (usize, Value)| {
        if let (Some(of), Some(version), Some(item)) = (&of, &version, content.as_object_mut()) {
            item.entry("kind").or_insert_with(|| of.clone());
            item.entry("apiVersion").or_insert_with(|| version.clone());
        }
        Item { place: Some(i), content }
    };
    items.into_iter().enumerate().map(item).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn contents(text: &str) -> Vec<Value> {
        let items = split_documents(text).into_iter().flat_map(|d| d.parse().unwrap());
        items.map(|item| item.content).collect()
    }

    #[test]
    fn documents_are_told_apart_and_a_bad_one_stands_alone() {
        let text = "\u{feff}# head\n---\na: 1\nb: \"true\"\n--- # two\n{\"a\": [true, null, 2.5]}\n\
            ---\n\n---\na: [\n---\na: 2\n...\n";
        let documents = split_documents(text);
        let contents: Vec<_> = documents.iter().map(|d| d.parse().ok()).collect();
        let one = |content| Some(vec![Item { place: None, content }]);
        assert_eq!(
            contents,
            [
                one(json!({"a": 1, "b": "true"})),
                one(json!({"a": [true, null, 2.5]})),
                None,
                one(json!({"a": 2}))
            ]
        );
        let places: Vec<_> = documents.iter().map(|d| (d.number, d.line)).collect();
        assert_eq!(places, [(1, 2), (2, 5), (3, 9), (4, 11)]);
    }

    #[test]
    fn a_syntax_error_names_the_line_of_the_file() {
        let documents = split_documents("a: 1\n---\nb:\n  c: }\n");
        let told = documents[1].parse().unwrap_err();
        assert!(told.contains("line 4"), "{told}");
    }

    #[test]
    fn a_list_is_its_items_and_they_may_inherit_the_kind() {
        let list = "kind: List\napiVersion: v1\nitems:\n- {kind: A}\n- {kind: B}\n";
        assert_eq!(contents(list), [json!({"kind": "A"}), json!({"kind": "B"})]);
        let list = "kind: ServiceList\napiVersion: v1\nitems:\n- {a: 1}\n";
        assert_eq!(contents(list), [json!({"kind": "Service", "apiVersion": "v1", "a": 1})]);
    }

    #[test]
    fn a_list_of_a_whole_cluster_is_read() {
        let mut list = String::from("kind: List\nitems:\n");
        for i in 0..20_000 {
            list.push_str(&format!("- {{kind: A, n: [{i}, 1, 2, 3, 4, 5, 6, 7]}}\n"));
        }
        assert_eq!(contents(&list).len(), 20_000);
    }

    proptest! {
        #[test]
        fn no_garbage_disturbs_its_neighbours(garbage in "[ -~\n\t]{0,80}") {
            prop_assume!(!garbage.contains("---") && !garbage.contains("..."));
            let text = format!("a: 1\n---\n{garbage}\n---\nb: 2\n");
            let documents = split_documents(&text);
            let content = |i: usize| documents[i].parse().unwrap().remove(0).content;
            prop_assert_eq!(content(0), json!({"a": 1}));
            prop_assert_eq!(content(documents.len() - 1), json!({"b": 2}));
        }

        #[test]
        fn nothing_makes_it_panic(text in "\\PC{0,200}") {
            for document in split_documents(&text) {
                let _ = document.parse();
            }
        }
    }
}
