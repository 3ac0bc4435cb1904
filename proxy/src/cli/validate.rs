//! `nodeway validate`: what is wrong with a folder of manifests.

use std::path::Path;
use std::process::ExitCode;

use nodeway_core::snapshot::{CompileOptions, Compiler, Enroll, Store};

use crate::source::{Folder, read_folder};
use crate::translate::kind_name;

/// Prints every problem and a summary; fails if there is one.
pub(super) fn validate(folder: &Path) -> ExitCode {
    let files = match read_folder(folder) {
        Ok(files) => files,
        Err(error) => {
            eprintln!("nodeway validate: {}: {error}", folder.display());
            return ExitCode::from(2);
        }
    };
    let read = files.len();
    let (changes, problems) = Folder::default().update(files);
    let mut store = Store::default();
    let objects = changes.len();
    for change in changes {
        store.apply(change);
    }
    let compile = CompileOptions { enroll: Enroll::Label, node_name: None };
    let snapshot = Compiler::new(compile).compile(&store);
    for problem in &problems {
        println!("{problem}");
    }
    for problem in snapshot.problems() {
        let kind = kind_name(problem.kind);
        println!("{kind} {}: {}: {}", problem.object, problem.field, problem.message);
    }
    let count = problems.len() + snapshot.problems().len();
    println!("{read} files, {objects} objects, {count} problems");
    if count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
