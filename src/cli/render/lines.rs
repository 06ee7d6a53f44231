//! Lines of text for people: what fits 80 columns, what stands out, and that data begins no line of its own.

use crate::cli::paint::{Tone, columns_of, toned};
use remelt::analysis::printable_line;
use remelt::model::Severity;
use std::fmt::Write;

/// Appends one line, whatever stands in the values: data must not end it and begin one of its own.
// Writing to a String can't fail, so the results of `writeln!` are not looked at here.
macro_rules! line {
    ($text:expr) => { { let _ = writeln!($text); } };
    ($text:expr, $($args:tt)*) => {
        { let _ = writeln!($text, "{}", remelt::analysis::printable_line(&format!($($args)*))); }
    };
}
pub(crate) use line;

/// Columns of a line of prose; a terminal has 80.
pub(super) const PROSE_COLUMNS: usize = 78;

/// `sentence` in lines that fit, the first after `head` and the others as far in.
pub(crate) fn prose(text: &mut String, head: &str, sentence: &str) {
    let indent = columns_of(head);
    let mut row = head.to_owned();
    let mut columns = indent;
    let sentence = printable_line(sentence);
    for part in parts(&sentence) {
        // What does not fit on a line of its own is broken between its words.
        let is_whole = indent + part.chars().count() <= PROSE_COLUMNS;
        for word in part.split(|c| !is_whole && c == ' ') {
            let length = word.chars().count();
            if columns > indent && columns + 1 + length > PROSE_COLUMNS {
                line!(text, "{}", row.trim_end());
                row = " ".repeat(indent);
                columns = indent;
            } else if columns > indent {
                row.push(' ');
                columns += 1;
            }
            row.push_str(word);
            columns += length;
        }
    }
    line!(text, "{}", row.trim_end());
}

/// The words of `sentence`, with those of a command in one piece.
fn parts(sentence: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut words = sentence.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let mut part = word.to_owned();
        if word == "remelt" {
            while let Some(word) = words.next_if(|word| belongs_to(&part, word)) {
                part = part + " " + word;
            }
        }
        parts.push(part);
    }
    parts
}

/// Whether `word` is a part of `command` as far as it goes: the command's name, an option or its value, a
/// placeholder, a path.
fn belongs_to(command: &str, word: &str) -> bool {
    let last = command.rsplit(' ').next().unwrap_or_default();
    let is_over = last.ends_with([',', ';', ':', '.', ')']);
    let bare = word.trim_end_matches([',', ';', ':', '.', ')']);
    let is_placeholder =
        !bare.is_empty() && bare.chars().all(|c| c.is_ascii_uppercase() || "_/|".contains(c));
    let is_argument = word.starts_with(['-', '\'']) || word.contains('/') || is_placeholder;
    !is_over && (last == "remelt" || is_argument)
}

/// A fact under a word: one line where 80 columns are enough.
pub(super) fn fact(text: &mut String, word: &str, sentence: &str) {
    let head = format!("{word:<10} ");
    match columns_of(&head) + columns_of(sentence) {
        0..=80 => line!(text, "{head}{sentence}"),
        _ => prose(text, &head, sentence),
    }
}

/// A heading over a table or list.
pub(super) fn heading(text: &mut String, words: &str) {
    line!(text, "{}", toned(Tone::Strong, words));
}

/// `padded` in the tone of a severity.
pub(super) fn severe(severity: Severity, padded: &str) -> String {
    match severity {
        Severity::High => toned(Tone::Bad, padded),
        Severity::Medium => toned(Tone::Warn, padded),
        Severity::Low => toned(Tone::Dim, padded),
    }
}

/// A bar of at most `columns`; at least one column for what is not nothing.
pub(super) fn bar(count: u64, most: u64, columns: u64) -> String {
    let length = u128::from(count) * u128::from(columns);
    let length = length.div_ceil(u128::from(most.max(1)));
    toned(Tone::Dim, &"#".repeat(usize::try_from(length).unwrap_or(0)))
}

/// A long identifier by its ends; whole where it fits.
pub(super) fn shortened(id: &str, columns: usize) -> String {
    const ENDING: usize = 8;
    let id = printable_line(id);
    let length = id.chars().count();
    if length <= columns {
        return id;
    }
    let head: String = id.chars().take(columns.saturating_sub(ENDING + 3)).collect();
    let tail: String = id.chars().skip(length - ENDING).collect();
    format!("{head}...{tail}")
}

/// `head` and `words` with commas, in lines that fit.
pub(super) fn wrapped(text: &mut String, head: &str, words: &[&str]) {
    let mut row = head.to_owned();
    for (i, word) in words.iter().enumerate() {
        let end = if i + 1 < words.len() { "," } else { "" };
        if row.len() + 2 + word.len() > PROSE_COLUMNS {
            line!(text, "{row}");
            row = " ".repeat(head.len());
        }
        row += &format!(" {word}{end}");
    }
    line!(text, "{row}");
}
