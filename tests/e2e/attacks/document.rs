//! `docs/security.md` says what the tables say.

use std::fmt::Write as _;
use std::path::Path;

use super::{http1_framing, http1_heads, http2_floods, http2_frames, http2_heads};

const BEGIN: &str = "<!-- from the tests' tables: begin -->\n";
const END: &str = "<!-- from the tests' tables: end -->\n";
/// Writes the document's part anew instead of comparing it.
const WRITE: &str = "NODEWAY_WRITE_SECURITY";

#[test]
fn the_document_says_what_the_tables_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/security.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("a mark where the tables begin");
    let (said, after) = rest.split_once(END).expect("a mark where the tables end");
    let tables = tables();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{tables}{END}{after}")).unwrap();
        return;
    }
    let wrong = tables.lines().find(|line| !said.contains(line));
    assert!(
        said == tables,
        "docs/security.md is not what the tables say, first: {wrong:?}; run this test with {WRITE}=1 to write it anew"
    );
}

fn tables() -> String {
    let mut text = String::new();
    for (title, cases) in
        [("HTTP/1: where a body ends", http1_framing::CASES), ("HTTP/1: heads", http1_heads::CASES)]
    {
        table(&mut text, title, cases.iter().map(|case| (case.what, case.outcome.to_string())));
    }
    for (title, cases) in [
        ("HTTP/2: requests", http2_heads::CASES),
        ("HTTP/2: frames and header blocks", http2_frames::CASES),
    ] {
        table(&mut text, title, cases.iter().map(|case| (case.what, case.outcome.to_string())));
    }
    let floods = http2_floods::CASES.iter().map(|case| (case.what, case.outcome.to_string()));
    table(&mut text, "HTTP/2: floods", floods);
    text
}

fn table(text: &mut String, title: &str, lines: impl Iterator<Item = (&'static str, String)>) {
    write!(text, "\n### {title}\n\n| what is sent | what becomes of it |\n| --- | --- |\n")
        .unwrap();
    let mut known: Vec<&str> = Vec::new();
    for (what, outcome) in lines {
        assert!(!known.contains(&what), "twice: {what}");
        // A bar is a column's end, also within code.
        writeln!(text, "| {} | {} |", what.replace('|', "\\|"), outcome.replace('|', "\\|"))
            .unwrap();
        known.push(what);
    }
    text.push('\n');
}
