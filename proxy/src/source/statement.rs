//! What a document says about an object, and a memory of it: a text that has been read is not parsed
//! again.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use nodeway_core::model::Object;

use super::{Document, documents::Item};
use crate::translate::{Fault, Identity, Recognised, recognise, translate};

/// What one object of a document is.
#[derive(Debug)]
pub(super) enum Statement {
    /// Of a kind that we have no use for.
    Foreign(String),
    /// Nothing that can be told.
    Unclear(Fault),
    /// One of ours.
    Ours {
        identity: Identity,
        /// None: refused, or not for us.
        object: Option<Arc<Object>>,
        faults: Vec<Fault>,
    },
}

/// What documents say, by their text. Of texts that were not asked for since the last [`Self::turn`],
/// nothing is kept.
#[derive(Debug, Default)]
pub(super) struct Memory {
    before: HashMap<Key, Arc<[Statement]>>,
    now: HashMap<Key, Arc<[Statement]>>,
}

/// Length and hash of a text. The texts are not kept, to save their memory; nobody who may write
/// manifests gains anything from a collision.
type Key = (usize, u64);

// === impl Memory ===

impl Memory {
    /// What `document` says, from memory if it was read before.
    ///
    /// # Errors
    /// It is no YAML. (Not remembered: the message names a line of the file.)
    pub(super) fn read(&mut self, document: &Document<'_>) -> Result<Arc<[Statement]>, String> {
        let mut hasher = DefaultHasher::new();
        document.text.hash(&mut hasher);
        let key = (document.text.len(), hasher.finish());
        let statements = match self.now.get(&key).or_else(|| self.before.get(&key)) {
            Some(known) => Arc::clone(known),
            None => document.parse()?.into_iter().map(Statement::of).collect(),
        };
        self.now.insert(key, Arc::clone(&statements));
        Ok(statements)
    }

    /// Forgets what was not read since the last time.
    pub(super) fn turn(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }
}

// === impl Statement ===

impl Statement {
    fn of(item: Item) -> Self {
        // In a List, fields are told from the document's root.
        let whole = |mut fault: Fault| {
            if let Some(place) = item.place {
                fault.field = format!("items[{place}].{}", fault.field);
            }
            fault
        };
        match recognise(&item.content) {
            Recognised::Foreign(kind) => Self::Foreign(kind),
            Recognised::Unclear(fault) => Self::Unclear(whole(fault)),
            Recognised::Ours(identity) => {
                let translated = translate(&identity, item.content);
                let faults = translated.faults.into_iter().map(whole).collect();
                Self::Ours { identity, object: translated.object.map(Arc::new), faults }
            }
        }
    }
}
