//! What is wrong with an object.

use std::fmt;

use nodeway_core::model::Object;

use super::Translated;

/// One thing that is wrong, at one field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The field's path from the object's root, `spec.rules[0].matches[1].path.value`.
    pub field: String,
    /// What is wrong there, with the value, and what would be right.
    pub message: String,
}

/// Faults being gathered: all of an object's are told at once.
#[derive(Debug, Default)]
pub struct Faults {
    /// So far.
    pub list: Vec<Fault>,
    /// Whether one of them leaves the whole object's meaning in doubt.
    pub refused: bool,
}

impl Faults {
    /// Adds one that refuses the object.
    pub fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.refused = true;
        self.note(field, message);
    }

    /// Adds one that concerns nothing but its field: the rest of the object counts.
    pub fn note(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.list.push(Fault { field: field.into(), message: message.into() });
    }

    /// The object with its faults, or the faults alone if one refuses it.
    pub(super) fn with(self, object: Object) -> Translated {
        Translated { object: (!self.refused).then_some(object), refused: None, faults: self.list }
    }

    /// The value, or none and its fault, which refuses the object.
    pub fn check<T, E: fmt::Display>(
        &mut self,
        field: impl Into<String>,
        value: impl fmt::Debug,
        result: Result<T, E>,
    ) -> Option<T> {
        result.map_err(|error| self.add(field, format!("{value:?}: {error}"))).ok()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}
