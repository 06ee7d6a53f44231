//! Restrained colour: which words stand out, and when they do.
//!
//! A result is plain text with marks; the marks become colour on a terminal that wants it and nothing
//! elsewhere. They are characters that no text has (Unicode noncharacters), so what comes from a document
//! can at worst be coloured, never hide or move anything.

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

/// How a word stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// A heading or label.
    Strong,
    /// As it should be.
    Good,
    /// To be looked at.
    Warn,
    /// Wrong.
    Bad,
    /// Beside the point.
    Dim,
}

const TONES: [(char, Tone); 5] = [
    ('\u{fdd0}', Tone::Strong),
    ('\u{fdd1}', Tone::Good),
    ('\u{fdd2}', Tone::Warn),
    ('\u{fdd3}', Tone::Bad),
    ('\u{fdd4}', Tone::Dim),
];
const END: char = '\u{fdef}';

impl Tone {
    fn style(self) -> Style {
        let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
        match self {
            Tone::Strong => Style::new().bold(),
            Tone::Good => colour(AnsiColor::Green),
            Tone::Warn => colour(AnsiColor::Yellow),
            Tone::Bad => colour(AnsiColor::Red).bold(),
            Tone::Dim => Style::new().dimmed(),
        }
    }
}

/// `text` in a tone. Pad it before: `{:<9}` would count the marks, which [`columns_of`] does not.
pub(crate) fn toned(tone: Tone, text: &str) -> String {
    let mark = TONES.iter().find(|(_, of)| *of == tone).map_or(END, |(mark, _)| *mark);
    format!("{mark}{text}{END}")
}

/// Columns that `text` takes on the screen: its characters but the marks.
pub(crate) fn columns_of(text: &str) -> usize {
    let is_mark = |c: char| c == END || TONES.iter().any(|(mark, _)| *mark == c);
    text.chars().filter(|c| !is_mark(*c)).count()
}

/// Columns of the label with which a line of a result may begin.
pub(crate) const LABEL_COLUMNS: usize = 11;

/// The text with its marks as colour, or without them. A label at the start of a line stands out too.
pub(crate) fn paint(text: &str, with_colour: bool) -> String {
    let mut painted = String::with_capacity(text.len());
    let strong = Tone::Strong.style();
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        if with_colour && let Some(label) = label(line) {
            painted += &format!("{strong}{label}{strong:#}");
            rest = &line[label.len()..];
        }
        for c in rest.chars() {
            match (TONES.iter().find(|(mark, _)| *mark == c), c) {
                (Some((_, tone)), _) if with_colour => painted += &tone.style().to_string(),
                (None, END) if with_colour => painted += &anstyle::Reset.to_string(),
                (Some(_), _) | (None, END) => {}
                (None, c) => painted.push(c),
            }
        }
    }
    painted
}

fn label(line: &str) -> Option<&str> {
    let label = line.get(..LABEL_COLUMNS)?.trim_end();
    let is_word = label.starts_with(|c: char| c.is_ascii_uppercase())
        && label.chars().all(|c| c.is_ascii_alphabetic());
    (is_word && label.len() < LABEL_COLUMNS).then_some(label)
}

/// Whether standard output wants colour (NO_COLOR, CLICOLOR, CLICOLOR_FORCE, TERM, and a terminal).
pub(crate) fn stdout_wants_colour() -> bool {
    AutoStream::choice(&std::io::stdout()) != ColorChoice::Never
}

/// Whether standard error wants colour.
pub(crate) fn stderr_wants_colour() -> bool {
    AutoStream::choice(&std::io::stderr()) != ColorChoice::Never
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colour_nothing_of_the_marks_is_left() {
        let text = format!("{} and {}\n", toned(Tone::Bad, "FAIL"), toned(Tone::Dim, "dim"));
        assert_eq!(paint(&text, false), "FAIL and dim\n");
        let painted = paint(&text, true);
        assert!(painted.contains("\u{1b}["), "{painted:?}");
        assert!(!painted.contains(END));
    }

    #[test]
    fn labels_stand_out_and_sentences_do_not() {
        assert_eq!(label("Snapshot   abc"), Some("Snapshot"));
        assert_eq!(label("Recommends abc"), Some("Recommends"));
        assert_eq!(label("The largest losses"), None);
        assert_eq!(label("           indented text"), None);
        assert!(paint("Plan       abc\n", true).starts_with("\u{1b}[1mPlan"));
    }
}
