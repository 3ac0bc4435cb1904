//! `nodeway validate`: what is wrong with a folder of manifests.

use std::path::Path;
use std::process::ExitCode;

use nodeway_core::snapshot::{CompileOptions, Compiler, Enroll, Store};

use crate::source::{FileText, Folder, read_folder};

/// What was found.
#[derive(Debug, PartialEq, Eq)]
struct Report {
    files: usize,
    objects: usize,
    /// A line each, in the order of the files.
    problems: Vec<String>,
}

/// Prints every problem and a summary; fails if there is one.
pub(super) fn validate(folder: &Path) -> ExitCode {
    let files = match read_folder(folder) {
        Ok(files) => files,
        Err(error) => {
            eprintln!("nodeway validate: {}: {error}", folder.display());
            return ExitCode::from(2);
        }
    };
    let Report { files, objects, problems } = examine(files);
    for problem in &problems {
        println!("{problem}");
    }
    let counted = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let (files, objects) = (counted(files, "file"), counted(objects, "object"));
    println!("{files}, {objects}, {}", counted(problems.len(), "problem"));
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is wrong with each object, and with what objects say of each other.
fn examine(files: Vec<FileText>) -> Report {
    let read = files.len();
    let mut folder = Folder::default();
    let (changes, problems) = folder.update(files);
    let objects = changes.len();
    let mut store = Store::default();
    for change in changes {
        store.apply(change);
    }
    let compile = CompileOptions { enroll: Enroll::Label, node_name: None };
    let compiled = Compiler::new(compile).compile(&mut store);
    let mut problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    problems.extend(compiled.iter().flat_map(|compiled| compiled.snapshot.problems()).map(
        |problem| {
            let file = folder.file_of(problem.kind, &problem.object).unwrap_or(Path::new("?"));
            format!("{}: {problem}", file.display())
        },
    ));
    Report { files: read, objects, problems }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_good() {
        let shop = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/shop");
        let report = examine(read_folder(&shop).unwrap());
        assert_eq!(report, Report { files: 5, objects: 10, problems: Vec::new() });
    }

    #[test]
    fn what_objects_say_of_each_other_is_told_with_the_file() {
        let route = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
            metadata: {name: r, namespace: shop}\nspec:\n  \
            parentRefs: [{group: '', kind: Service, name: web}]\n  \
            rules: [{backendRefs: [{name: gone, port: 80}]}]\n";
        let file = |path: &str, text: &str| FileText { path: path.into(), text: Ok(text.into()) };
        let report = examine(vec![file("r.yaml", route)]);
        assert_eq!(report.problems.len(), 2, "{report:?}");
        for part in
            ["rules[0].backendRefs[0]: Service shop/gone", "parentRefs[0]: Service shop/web"]
        {
            let start = format!("r.yaml: HTTPRoute shop/r: spec.{part}");
            assert!(report.problems.iter().any(|told| told.starts_with(&start)), "{report:?}");
        }
    }
}
