//! A folder's objects, and what changes from one reading to the next. Pure: files come as text.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nodeway_core::model::{Change, Kind, Object, ObjectName};

use super::statement::{Memory, Statement};
use super::{Document, FileText, Problem, split_documents};
use crate::translate::{Fault, Identity};

/// What was read last, and is in force.
#[derive(Debug, Default)]
pub struct Folder {
    objects: BTreeMap<Identity, Known>,
    memory: Memory,
}

#[derive(Debug, Clone)]
struct Known {
    file: Arc<Path>,
    /// None: of a kind of ours, but not for us.
    object: Option<Arc<Object>>,
}

/// One reading under way.
struct Reading<'a> {
    /// All that are there.
    files: BTreeSet<PathBuf>,
    before: &'a BTreeMap<Identity, Known>,
    memory: &'a mut Memory,
    objects: BTreeMap<Identity, Known>,
    /// Those of `objects` that were not read but are as they were before: they give way to what is
    /// read.
    kept: BTreeSet<Identity>,
    problems: Vec<Problem>,
}

/// Where a statement stands: its file, and the document's number and line.
#[derive(Clone, Copy)]
struct Place<'a> {
    file: &'a Arc<Path>,
    document: Option<(usize, usize)>,
}

// === impl Folder ===

impl Folder {
    /// Takes a new reading of all files: what has changed, and all that is wrong. An object whose
    /// document has become bad stays as it was last good; so do all objects of a file with a document
    /// that cannot be told, for it may be any of them.
    pub fn update(&mut self, files: Vec<FileText>) -> (Vec<Change>, Vec<Problem>) {
        let mut reading = Reading {
            files: files.iter().map(|file| file.path.clone()).collect(),
            before: &self.objects,
            memory: &mut self.memory,
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
        self.memory.turn();
        (changes, problems)
    }

    /// The file that an object in force comes from, relative to the folder.
    pub fn file_of(&self, kind: Kind, name: &ObjectName) -> Option<&Path> {
        let identity = Identity { kind, name: name.clone() };
        self.objects.get(&identity).map(|known| &*known.file)
    }
}

fn changes(before: &BTreeMap<Identity, Known>, now: &BTreeMap<Identity, Known>) -> Vec<Change> {
    let gone = |identity: &Identity| now.get(identity).is_none_or(|known| known.object.is_none());
    let deleted = before
        .iter()
        .filter(|(identity, known)| known.object.is_some() && gone(identity))
        .map(|(identity, _)| Change::Delete(identity.kind, identity.name.clone()));
    let applied = now.iter().filter_map(|(identity, known)| {
        let object = known.object.as_ref()?;
        let former = before.get(identity).and_then(|former| former.object.as_ref());
        (!former.is_some_and(|former| Arc::ptr_eq(former, object) || former == object))
            .then(|| Change::Apply(Object::clone(object)))
    });
    deleted.chain(applied).collect()
}

// === impl Reading ===

impl Reading<'_> {
    fn file(&mut self, file: FileText) {
        let path: Arc<Path> = file.path.into();
        let text = match file.text {
            Ok(text) => text,
            Err(error) => {
                self.problem(Place { file: &path, document: None }, None, error.to_string());
                self.keep_all_of(&path);
                return;
            }
        };
        for document in split_documents(&text) {
            self.document(&path, &document);
        }
    }

    fn document(&mut self, file: &Arc<Path>, document: &Document<'_>) {
        let place = Place { file, document: Some((document.number, document.line)) };
        let statements = match self.memory.read(document) {
            Ok(statements) => statements,
            Err(message) => {
                self.problem(place, None, message);
                self.keep_all_of(file);
                return;
            }
        };
        for statement in &*statements {
            match statement {
                Statement::Foreign(kind) => {
                    tracing::debug!(file = %file.display(), kind, "a kind we have no use for");
                }
                Statement::Unclear(fault) => {
                    self.problem(place, None, fault.to_string());
                    self.keep_all_of(file);
                }
                Statement::Ours { identity, object, faults } => {
                    self.object(place, identity, object.as_ref(), faults);
                }
            }
        }
    }

    fn object(
        &mut self,
        place: Place<'_>,
        identity: &Identity,
        object: Option<&Arc<Object>>,
        faults: &[Fault],
    ) {
        let name = format!("{} {}", identity.kind, identity.name);
        // What was only kept from before gives way to what is read now.
        if !self.kept.contains(identity)
            && let Some(other) = self.objects.get(identity)
        {
            let message = format!("is in {} already; that one counts", other.file.display());
            self.problem(place, Some(&name), message);
            return;
        }
        for fault in faults {
            self.problem(place, Some(&name), fault.to_string());
        }
        if object.is_none() && !faults.is_empty() {
            self.refused(place.file, identity);
            return;
        }
        self.kept.remove(identity);
        let known = Known { file: Arc::clone(place.file), object: object.cloned() };
        self.objects.insert(identity.clone(), known);
    }

    /// The last good version stays. If it is another file's, that file has the next word: a bad copy
    /// must not freeze a good one.
    fn refused(&mut self, file: &Arc<Path>, identity: &Identity) {
        let Some(former) = self.before.get(identity) else { return };
        let mut known = former.clone();
        if known.file == *file {
            self.kept.remove(identity);
        } else {
            if !self.files.contains(&*known.file) {
                known.file = Arc::clone(file);
            }
            self.kept.insert(identity.clone());
        }
        self.objects.insert(identity.clone(), known);
    }

    /// Of a file, or of all files of a folder that cannot be read.
    fn keep_all_of(&mut self, file: &Path) {
        for (identity, known) in self.before.iter().filter(|(_, k)| k.file.starts_with(file)) {
            if let Entry::Vacant(place) = self.objects.entry(identity.clone()) {
                place.insert(known.clone());
                self.kept.insert(identity.clone());
            }
        }
    }

    fn problem(&mut self, place: Place<'_>, object: Option<&str>, message: String) {
        let Place { file, document } = place;
        self.problems.push(Problem {
            place: Some(super::Place { file: file.to_path_buf(), document }),
            object: object.map(str::to_owned),
            about: None,
            message,
        });
    }
}

#[cfg(test)]
mod tests;
