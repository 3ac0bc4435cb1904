//! What is wrong with the objects taken together, for people.

use std::fmt;

use crate::model::{Kind, ObjectName};

/// One fault of one object that shows only beside the others: a reference to nothing, an address
/// taken twice. The object serves as far as it can.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Problem {
    /// The object's kind.
    pub kind: Kind,
    /// The object.
    pub object: ObjectName,
    /// The field at fault, as a path: `spec.rules[0].backendRefs[1]`.
    pub field: String,
    /// What is wrong, with the value, and what it means for traffic.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}: {}", self.kind, self.object, self.field, self.message)
    }
}
