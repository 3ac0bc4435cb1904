//! What is wrong with an object.

use std::fmt;

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
}

impl Faults {
    /// Notes one.
    pub fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.list.push(Fault { field: field.into(), message: message.into() });
    }

    /// The value, or none and its fault.
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
