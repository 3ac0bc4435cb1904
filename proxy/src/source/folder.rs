//! A folder's objects, and what changes from one reading to the next. Pure: files come as text.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use nodeway_core::model::{Change, Object};
use serde_json::Value;

use super::{Document, FileText, split_documents};
use crate::translate::{Fault, Identity, Recognised, kind_name, recognise, translate};

/// Something that is wrong in a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, relative to the folder.
    pub file: PathBuf,
    /// The document's place in it, counted from 1, and the line it begins on; none if the file itself
    /// cannot be read.
    pub document: Option<(usize, usize)>,
    /// The object, if the document says so much.
    pub object: Option<String>,
    /// The field, if there is one, and what is wrong.
    pub message: String,
}

/// What was read last, and is in force.
#[derive(Debug, Default)]
pub struct Folder {
    objects: BTreeMap<Identity, Known>,
}

#[derive(Debug, Clone)]
struct Known {
    file: PathBuf,
    /// What it was read from: equal documents are equal objects.
    document: Value,
    /// None: of a kind of ours, but not for us.
    object: Option<Object>,
}

/// One reading under way.
struct Reading<'a> {
    before: &'a BTreeMap<Identity, Known>,
    objects: BTreeMap<Identity, Known>,
    /// Those of `objects` that were not read but are as they were before.
    kept: BTreeSet<Identity>,
    problems: Vec<Problem>,
}

// === impl Folder ===

impl Folder {
    /// Takes a new reading of all files: what has changed, and all that is wrong. An object whose
    /// document has become bad stays as it was last good; so do all objects of a file with a document
    /// that cannot be told, for it may be any of them.
    pub fn update(&mut self, files: Vec<FileText>) -> (Vec<Change>, Vec<Problem>) {
        let mut reading = Reading {
            before: &self.objects,
            objects: BTreeMap::new(),
            kept: BTreeSet::new(),
            problems: Vec::new(),
        };
        for file in files {
            reading.file(file);
        }
        let Reading { objects, problems, .. } = reading;
        let changes = changes(&self.objects, &objects);
        self.objects = objects;
        (changes, problems)
    }
}

fn changes(before: &BTreeMap<Identity, Known>, now: &BTreeMap<Identity, Known>) -> Vec<Change> {
    let gone = |identity: &Identity| now.get(identity).is_none_or(|known| known.object.is_none());
    let deleted = before
        .iter()
        .filter(|(identity, known)| known.object.is_some() && gone(identity))
        .map(|(identity, _)| Change::Delete(identity.kind, identity.name.clone()));
    let applied = now
        .iter()
        .filter(|(identity, known)| {
            before.get(identity).is_none_or(|former| former.document != known.document)
        })
        .filter_map(|(_, known)| known.object.clone().map(Change::Apply));
    deleted.chain(applied).collect()
}

// === impl Reading ===

impl Reading<'_> {
    fn file(&mut self, file: FileText) {
        let text = match file.text {
            Ok(text) => text,
            Err(error) => {
                self.problem(&file.path, None, None, error.to_string());
                self.keep_all_of(&file.path);
                return;
            }
        };
        for document in split_documents(&text) {
            self.document(&file.path, document);
        }
    }

    fn document(&mut self, file: &Path, document: Document) {
        let at = Some((document.number, document.line));
        let content = match document.content {
            Ok(Value::Null) => return,
            Ok(content) => content,
            Err(message) => {
                self.problem(file, at, None, message);
                self.keep_all_of(file);
                return;
            }
        };
        match recognise(&content) {
            Recognised::Ours(identity) => self.object(file, at, identity, content),
            Recognised::Foreign(kind) => {
                tracing::debug!(file = %file.display(), kind, "a kind we have no use for");
            }
            Recognised::Unclear(fault) => {
                self.problem(file, at, None, fault.to_string());
                self.keep_all_of(file);
            }
        }
    }

    fn object(
        &mut self,
        file: &Path,
        at: Option<(usize, usize)>,
        identity: Identity,
        document: Value,
    ) {
        let name = format!("{} {}", kind_name(identity.kind), identity.name);
        // What was only kept from before gives way to what is read now.
        if !self.kept.remove(&identity)
            && let Some(other) = self.objects.get(&identity)
        {
            let message = format!("is in {} already; that one counts", other.file.display());
            self.problem(file, at, Some(&name), message);
            return;
        }
        let translated = translate(&identity, document.clone());
        let refused = translated.object.is_none() && !translated.faults.is_empty();
        for Fault { field, message } in translated.faults {
            self.problem(file, at, Some(&name), format!("{field}: {message}"));
        }
        let file = file.to_owned();
        let known = if refused {
            let Some(former) = self.before.get(&identity) else {
                self.objects.remove(&identity);
                return;
            };
            Known { file, ..former.clone() }
        } else {
            Known { file, document, object: translated.object }
        };
        self.objects.insert(identity, known);
    }

    fn keep_all_of(&mut self, file: &Path) {
        for (identity, known) in self.before.iter().filter(|(_, known)| known.file == file) {
            if let Entry::Vacant(place) = self.objects.entry(identity.clone()) {
                place.insert(known.clone());
                self.kept.insert(identity.clone());
            }
        }
    }

    fn problem(
        &mut self,
        file: &Path,
        document: Option<(usize, usize)>,
        object: Option<&str>,
        message: String,
    ) {
        let object = object.map(str::to_owned);
        self.problems.push(Problem { file: file.to_owned(), document, object, message });
    }
}

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some((number, line)) = self.document {
            write!(f, ": document {number} (line {line})")?;
        }
        if let Some(object) = &self.object {
            write!(f, ": {object}")?;
        }
        write!(f, ": {}", self.message)
    }
}

#[cfg(test)]
mod tests;
