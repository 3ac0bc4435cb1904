//! The files of a folder.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Folders in folders, at most.
const DEPTH: usize = 8;
/// A manifest beyond this is none.
const MAX_SIZE: u64 = 64 << 20;

/// A file and what it says, or why it cannot be read.
#[derive(Debug)]
pub struct FileText {
    /// Relative to the folder. A folder in it that cannot be read stands for its files.
    pub path: PathBuf,
    /// Its text.
    pub text: io::Result<String>,
}

/// Which file or folder it is, whatever path leads there: device and inode.
pub(super) type Inode = (u64, u64);

/// All `.yaml`, `.yml` and `.json` files below `folder`, in order of their paths. Hidden ones are left
/// out: editors' swap files, and the `..data` of a mounted ConfigMap, whose files are linked from
/// beside it.
///
/// # Errors
/// The folder itself cannot be read.
pub fn read_folder(folder: &Path) -> io::Result<Vec<FileText>> {
    let mut found = Vec::new();
    list(folder, &mut vec![inode(folder)?], &mut found)?;
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    let read = |(path, error): (PathBuf, Option<io::Error>)| FileText {
        text: error.map_or_else(|| read_file(&path), Err),
        path: path.strip_prefix(folder).map_or_else(|_| path.clone(), Path::to_path_buf),
    };
    Ok(found.into_iter().map(read).collect())
}

pub(super) fn inode(path: &Path) -> io::Result<Inode> {
    fs::metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

/// Adds what is in `folder` to `found`; a folder in it that cannot be read is added with the reason.
/// `above` are the folders on the way here: a link back to one of them is not followed.
fn list(
    folder: &Path,
    above: &mut Vec<Inode>,
    found: &mut Vec<(PathBuf, Option<io::Error>)>,
) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        // Through links, as ConfigMap mounts need; one that leads nowhere is a file that cannot be
        // read, and is told so.
        let meta = fs::metadata(&path).ok().filter(fs::Metadata::is_dir);
        if let Some(inode) = meta.map(|meta| (meta.dev(), meta.ino())) {
            if above.len() <= DEPTH && !above.contains(&inode) {
                above.push(inode);
                if let Err(error) = list(&path, above, found) {
                    found.push((path, Some(error)));
                }
                above.pop();
            }
        } else if path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json") {
            found.push((path, None));
        }
    }
    Ok(())
}

fn read_file(path: &Path) -> io::Result<String> {
    let meta = fs::metadata(path)?;
    if !meta.is_file() {
        // Opening a named pipe would wait for a writer.
        return Err(io::Error::other("not a regular file"));
    }
    if meta.len() > MAX_SIZE {
        return Err(io::Error::other("larger than 64 MiB"));
    }
    fs::read_to_string(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_mounted_configmap_is_read_once_and_loops_and_hidden_files_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("..2026/deep")).unwrap();
        fs::create_dir(at("sub")).unwrap();
        fs::write(at("..2026/a.yaml"), "a").unwrap();
        fs::write(at(".b.yaml.swp"), "").unwrap();
        fs::write(at("sub/c.json"), "c").unwrap();
        fs::write(at("sub/notes.txt"), "").unwrap();
        symlink("..2026", at("..data")).unwrap();
        symlink("..data/a.yaml", at("a.yaml")).unwrap();
        symlink("nowhere", at("z.yml")).unwrap();
        symlink("..", at("sub/up")).unwrap();
        let files = read_folder(folder.path()).unwrap();
        let paths: Vec<_> = files.iter().map(|file| file.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["a.yaml", "sub/c.json", "z.yml"]);
        let texts: Vec<_> = files.iter().map(|file| file.text.as_deref().ok()).collect();
        assert_eq!(texts, [Some("a"), Some("c"), None]);
    }

    #[test]
    fn a_pipe_is_told_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe.yaml");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(read_folder(folder.path()).unwrap()[0].text.is_err());
    }
}
