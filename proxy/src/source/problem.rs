//! What is wrong in a folder.

use std::fmt;
use std::path::PathBuf;

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
