//! What is wrong in a source.

use std::fmt;
use std::path::PathBuf;

use nodeway_core::model::{Kind, ObjectName};

/// Something that is wrong in a source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Problem {
    /// Where it stands, if the source is a folder.
    pub place: Option<Place>,
    /// The object, if it is known.
    pub object: Option<String>,
    /// The same for machines, if the source is the API.
    pub about: Option<(Kind, ObjectName)>,
    /// The field, if there is one, and what is wrong.
    pub message: String,
}

/// A place in a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file, relative to the folder.
    pub file: PathBuf,
    /// The document's place in it, counted from 1, and the line it begins on; none if the file itself
    /// cannot be read.
    pub document: Option<(usize, usize)>,
}

// === impl Problem ===

impl Problem {
    /// Something that is wrong with an object of the API.
    pub(super) fn of_object(kind: Kind, name: &ObjectName, message: String) -> Self {
        let object = Some(format!("{kind} {name}"));
        Self { place: None, object, about: Some((kind, name.clone())), message }
    }

    /// Something that is wrong with all of a kind.
    pub(super) fn of_kind(kind: Kind, message: String) -> Self {
        Self { place: None, object: Some(kind.to_string()), about: None, message }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Place { file, document }) = &self.place {
            write!(f, "{}", file.display())?;
            if let Some((number, line)) = document {
                write!(f, ": document {number} (line {line})")?;
            }
            f.write_str(": ")?;
        }
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        f.write_str(&self.message)
    }
}
