//! Rust source without its comments and literals, so that rules see code only.
//!
//! Not a parser: enough of a lexer to know what is code.

/// The same text with comments, strings and characters blanked; line breaks stay where they were.
pub(super) fn code(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < characters.len() {
        let end = match skipped(&characters, at) {
            Some(end) => end.min(characters.len()),
            None => {
                out.push(characters[at]);
                at += 1;
                continue;
            }
        };
        out.extend(characters[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

/// The end of the comment or literal that begins here.
fn skipped(text: &[char], at: usize) -> Option<usize> {
    let rest = &text[at..];
    match rest {
        ['/', '/', ..] => Some(at + rest.iter().position(|c| *c == '\n').unwrap_or(rest.len())),
        ['/', '*', ..] => Some(at + block_comment(rest)),
        ['"', ..] => Some(at + 1 + string(&rest[1..])),
        ['r', '"' | '#', ..] if !continues_a_word(text, at) => {
            Some(at + 1 + raw_string(&rest[1..])?)
        }
        // 'a' or '\n', but not the lifetime 'a.
        ['\'', '\\', _, ..] => Some(at + 3 + rest[3..].iter().position(|c| *c == '\'')? + 1),
        ['\'', _, '\'', ..] => Some(at + 3),
        _ => None,
    }
}

fn continues_a_word(text: &[char], at: usize) -> bool {
    // b and c may stand before r"..." as part of the literal.
    at > 0 && is_word(text[at - 1]) && !matches!(text[at - 1], 'b' | 'c')
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// From behind the opening quote to behind the closing one.
fn string(rest: &[char]) -> usize {
    let mut at = 0;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// From behind the `r`; `None` if it is no string but `r#name`.
fn raw_string(rest: &[char]) -> Option<usize> {
    let hashes = rest.iter().take_while(|c| **c == '#').count();
    if rest.get(hashes) != Some(&'"') {
        return None;
    }
    let mut at = hashes + 1;
    while at < rest.len() {
        let closes = rest[at] == '"'
            && rest[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
        if closes {
            return Some(at + 1 + hashes);
        }
        at += 1;
    }
    Some(at)
}

pub(super) fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Where `word` stands as a whole word: byte offsets.
pub(super) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = code[..*at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// Every room (top-level module) named as `crate::room` or in `crate::{room, room::x}`, and where.
pub(super) fn rooms(code: &str) -> Vec<(usize, &str)> {
    let mut rooms = Vec::new();
    for at in words(code, "crate") {
        let rest = &code[at + "crate".len()..];
        let Some(path) = rest.trim_start().strip_prefix("::") else { continue };
        let path = path.trim_start();
        let start = code.len() - path.len();
        match path.strip_prefix('{') {
            Some(group) => rooms.extend(group_members(group, start + 1)),
            None => rooms.push((start, leading_word(path))),
        }
    }
    rooms
}

/// The first words of a brace group's members, nested groups aside.
fn group_members(group: &str, start: usize) -> Vec<(usize, &str)> {
    let mut members = Vec::new();
    let (mut depth, mut at_start) = (0_usize, true);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_start = true,
            c if at_start && is_word(c) => {
                members.push((start + at, leading_word(&group[at..])));
                at_start = false;
            }
            _ => {}
        }
    }
    members
}

fn leading_word(text: &str) -> &str {
    text.split(|c| !is_word(c)).next().unwrap_or_default()
}

pub(super) fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code() {
        let text = "a // x\n/* x /* x */ x */ b \"x \\\" x\" r#\"x \" x\"# 'x' '\\'' br\"x\" c";
        let code = code(text);
        assert!(!code.contains('x'), "{code}");
        assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "b", "b", "c"]);
        assert_eq!(code.matches('\n').count(), text.matches('\n').count());
    }

    #[test]
    fn lifetimes_and_raw_names_are_code() {
        assert_eq!(code("fn f<'a>(r#type: &'a str)"), "fn f<'a>(r#type: &'a str)");
    }

    #[test]
    fn what_never_closes_ends_with_the_file() {
        for text in ["/* x", "\"x", "r#\"x", "'\\"] {
            assert_eq!(code(text).chars().count(), text.chars().count(), "{text}");
        }
    }

    #[test]
    fn rooms_are_found_in_every_way_to_write_them() {
        let code =
            "use crate::cli;\nuse crate::{a::{b, c}, d, e as f};\ncrate :: g::h(); subcrate::i";
        let found: Vec<_> = rooms(code).into_iter().map(|(_, room)| room).collect();
        assert_eq!(found, ["cli", "a", "d", "e", "g"]);
        let (at, _) = rooms(code)[2];
        assert_eq!(line_of(code, at), 2);
    }
}
