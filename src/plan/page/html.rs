//! Building HTML from markup of our own and text of anybody's.
//!
//! Markup is `&'static str`, so nothing that is read at run time can become markup; all other text goes
//! through [`Html::text`], which escapes it and spells out characters that change how text is shown.

use crate::analysis::{ShownCell, printable_line};
use crate::model::{Sha256Hash, grouped};
use std::fmt::Write;

/// A page, or a part of one, under construction.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Markup of our own.
    pub(super) fn markup(&mut self, markup: &'static str) -> &mut Html {
        self.0.push_str(markup);
        self
    }

    /// Text of anybody's.
    pub(super) fn text(&mut self, text: &str) -> &mut Html {
        for c in printable_line(text).chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c => self.0.push(c),
            }
        }
        self
    }

    /// A number with its digits in groups of three.
    pub(super) fn number(&mut self, number: impl Into<i128>) -> &mut Html {
        self.0.push_str(&grouped(number.into()));
        self
    }

    /// A number as an attribute has it.
    pub(super) fn digits(&mut self, number: impl Into<i128>) -> &mut Html {
        let _ = write!(self.0, "{}", number.into());
        self
    }

    /// `1 record`, `2 records`.
    pub(super) fn counted(&mut self, count: u64, noun: &'static str) -> &mut Html {
        self.number(count).markup(" ").markup(noun).markup(if count == 1 { "" } else { "s" })
    }

    /// A hash.
    pub(super) fn hash(&mut self, hash: Sha256Hash) -> &mut Html {
        self.markup("<code class=hash>").text(&hash.to_string()).markup("</code>")
    }

    /// A cell of a report, which says when it was cut; `empty` stands for nothing.
    pub(super) fn cell(&mut self, cell: &ShownCell, empty: &'static str) -> &mut Html {
        if cell.chars == 0 {
            return self.markup("<i>").markup(empty).markup("</i>");
        }
        self.markup("<bdi>").text(&cell.text).markup("</bdi>");
        if cell.is_cut() {
            self.markup("<b class=cut>… cut, ").counted(cell.chars as u64, "character");
            self.markup("</b>");
        }
        self
    }

    /// A cell of a report that holds an integer.
    pub(super) fn integer(&mut self, cell: &ShownCell) -> &mut Html {
        match cell.text.parse::<i128>() {
            Ok(number) => self.number(number),
            Err(_) => self.text(&cell.text),
        }
    }

    /// A part made elsewhere.
    pub(super) fn part(&mut self, part: &Html) -> &mut Html {
        self.0.push_str(&part.0);
        self
    }

    /// Its length in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }

    /// The HTML.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::CELL_CHARS_MAX;

    fn text(text: &str) -> String {
        let mut html = Html::default();
        html.text(text);
        html.finish()
    }

    #[test]
    fn text_is_never_markup() {
        assert_eq!(
            text("<script>alert('1')</script> & \"x\""),
            "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;x&quot;"
        );
        assert_eq!(
            text("</td>\n\u{202e}gpj.exe\0"),
            "&lt;/td&gt;\\u{000a}\\u{202e}gpj.exe\\u{0000}"
        );
        for c in (0..=0x3_0000).filter_map(char::from_u32) {
            let shown = text(&c.to_string());
            assert!(!shown.contains(['<', '>', '"', '\'', '\n', '\r', '\0', '\u{202e}']), "{c:?}");
            assert_eq!(shown.contains('&'), ['&', '<', '>', '"', '\''].contains(&c), "{c:?}");
        }
    }

    #[test]
    fn a_cut_cell_says_so() {
        let mut html = Html::default();
        html.cell(&ShownCell::of("<".repeat(5_000).as_bytes()), "none");
        let shown = html.finish();
        assert!(shown.ends_with("… cut, 5,000 characters</b>"), "{shown}");
        assert_eq!(shown.matches("&lt;").count(), CELL_CHARS_MAX);
    }
}
