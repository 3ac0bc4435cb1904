//! What a person sees.

use std::io::IsTerminal as _;

/// A step's title and what to look at.
pub(crate) fn step(number: usize, title: &str, look: &str) {
    println!(
        "\n{} {}",
        paint("1;36", &format!("{number}. {title}")),
        paint("2", &format!("({look})"))
    );
}

/// A command as one would type it in the client pod.
pub(crate) fn command(line: &str) {
    println!("   {}", paint("33", &format!("client$ {line}")));
}

/// Something that was seen.
pub(crate) fn seen(line: &str) {
    println!("   {line}");
}

/// Whether it was as promised.
pub(crate) fn verdict(good: bool, what: &str) {
    let mark = if good { paint("1;32", "ok") } else { paint("1;31", "NOT SO") };
    println!("   {mark}: {what}");
}

/// The end.
pub(crate) fn summary(good: usize, all: usize) {
    let colour = if good == all { "1;32" } else { "1;31" };
    println!("\n{}", paint(colour, &format!("{good} of {all} steps were as promised")));
}

/// How much of a bar `part` of `whole` fills.
pub(crate) fn bar(part: usize, whole: usize) -> String {
    let filled = (part * 40).checked_div(whole).unwrap_or(0);
    format!("{}{} {part}", "#".repeat(filled), ".".repeat(40 - filled))
}

fn paint(code: &str, text: &str) -> String {
    if std::io::stdout().is_terminal() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}
