//! The files of a folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Folders in folders, at most.
const DEPTH: usize = 8;
/// A manifest beyond this is none.
const MAX_SIZE: u64 = 64 << 20;

/// A file and what it says, or why it cannot be read.
#[derive(Debug)]
pub struct FileText {
    /// Relative to the folder.
    pub path: PathBuf,
    /// Its text.
    pub text: io::Result<String>,
}

/// All `.yaml`, `.yml` and `.json` files below `folder`, in order of their paths. Hidden ones are left
/// out: editors' swap files, and the `..data` of a mounted ConfigMap, whose files are linked from
/// beside it.
///
/// # Errors
/// The folder itself cannot be read.
pub fn read_folder(folder: &Path) -> io::Result<Vec<FileText>> {
    let mut paths = Vec::new();
    list(folder, DEPTH, &mut paths)?;
    paths.sort();
    let read = |path: PathBuf| FileText {
        text: read_file(&path),
        path: path.strip_prefix(folder).map_or_else(|_| path.clone(), Path::to_path_buf),
    };
    Ok(paths.into_iter().map(read).collect())
}

fn list(folder: &Path, depth: usize, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        // Through links, as ConfigMap mounts need; one that leads nowhere is a file that cannot be
        // read, and is told so.
        let is_folder = fs::metadata(&path).is_ok_and(|meta| meta.is_dir());
        if is_folder {
            if depth > 0 {
                list(&path, depth - 1, paths)?;
            }
        } else if path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json") {
            paths.push(path);
        }
    }
    Ok(())
}

fn read_file(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > MAX_SIZE {
        return Err(io::Error::other("larger than 64 MiB"));
    }
    fs::read_to_string(path)
}
