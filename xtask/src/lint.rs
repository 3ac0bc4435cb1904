//! `lint`: format, clippy, documentation, and the rules of this house.
//!
//! Not for behaviour: tests are for that. The rules stand as tables in `lint/rules.rs`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::shell::{self, Step};
use crate::{ebpf, packages, toolchain};

mod rules;
mod source;

/// One breach of a rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    file: PathBuf,
    line: usize,
    /// The rule, and what would be right.
    message: String,
}

/// Runs everything, so that one run shows all there is to mend.
pub(crate) fn main() -> Result<ExitCode> {
    packages::ensure(&[packages::CC], "building Nodeway")?;
    let mut failed = Vec::new();
    let mut note = |what: &'static str, result: Result<()>| {
        if let Err(error) = result {
            eprintln!("error: {error:#}");
            failed.push(what);
        }
    };
    note("house rules", house_rules());
    note("format (`cargo fmt` mends it)", step("Format", cargo(&["fmt", "--all", "--check"])));
    let targets = ["fmt", "--manifest-path", "proxy/fuzz/Cargo.toml", "--check"];
    note("format of the fuzz targets", step("Format of the fuzz targets", cargo(&targets)));
    // Host features only: `programs` is for the BPF target.
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    note("clippy", step("Clippy", cargo(&clippy)));
    let mut doc = cargo(&["doc", "--workspace", "--no-deps"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    note("documentation", step("Documentation", doc));
    note("eBPF programs", programs());

    if failed.is_empty() {
        println!("lint: all clean");
        return Ok(ExitCode::SUCCESS);
    }
    println!("lint: to mend: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = shell::cargo();
    command.args(arguments);
    command
}

fn step(name: &str, mut command: Command) -> Result<()> {
    let step = Step::of(name, &command);
    let result = shell::run(&mut command);
    step.done();
    result
}

/// Installing a compiler only to look for warnings is too much for a contributor's first lint; a
/// pipeline needs it for the tests anyway.
fn programs() -> Result<()> {
    let compiler =
        if shell::in_ci() { Some(toolchain::compiler()?) } else { toolchain::find_compiler() };
    let Some(compiler) = compiler else {
        eprintln!(
            "    eBPF programs: not checked, no compiler for them (`cargo xtask build` gets one)"
        );
        return Ok(());
    };
    ebpf::check(&compiler)
}

fn house_rules() -> Result<()> {
    let step = Step::start("House rules");
    let root = shell::workspace();
    let findings = findings(&root)?;
    step.done();
    for finding in &findings {
        eprintln!("{}:{}: {}", finding.file.display(), finding.line, finding.message);
    }
    if findings.is_empty() {
        return Ok(());
    }
    anyhow::bail!("{} breaches of the house rules", findings.len())
}

fn findings(root: &Path) -> Result<Vec<Finding>> {
    let mut files = Vec::new();
    collect(root, Path::new(""), &mut files)?;
    files.sort();
    let mut findings = Vec::new();
    for file in files {
        let read = std::fs::read_to_string(root.join(&file));
        let text = read.with_context(|| format!("cannot read {}", file.display()))?;
        for (line, message) in rules::check(&file, &text) {
            findings.push(Finding { file: file.clone(), line, message });
        }
    }
    Ok(findings)
}

/// All .rs and Cargo.toml files, as paths from the root; not what is built or hidden.
fn collect(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let place = root.join(folder);
    let entries =
        std::fs::read_dir(&place).with_context(|| format!("cannot read {}", place.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", place.display()))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let path = folder.join(name);
        let kind = entry.file_type().context("cannot tell files from folders")?;
        if kind.is_dir() && !name.starts_with('.') && name != "target" {
            collect(root, &path, files)?;
        } else if kind.is_file() && (name.ends_with(".rs") || name == "Cargo.toml") {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_name_the_file_and_the_line() {
        let root = std::env::temp_dir().join(format!("xtask-lint-{}", std::process::id()));
        std::fs::create_dir_all(root.join("proxy/src/serve")).unwrap();
        std::fs::create_dir_all(root.join("target/debug")).unwrap();
        std::fs::write(root.join("proxy/src/serve/mod.rs"), "//! x\nuse crate::cli;\n").unwrap();
        std::fs::write(root.join("target/debug/made.rs"), "use crate::cli;\n").unwrap();
        let found = findings(&root).unwrap();
        std::fs::remove_dir_all(&root).unwrap();
        let places: Vec<_> = found.iter().map(|f| (f.file.to_str().unwrap(), f.line)).collect();
        assert_eq!(places, [("proxy/src/serve/mod.rs", 2)]);
    }
}
