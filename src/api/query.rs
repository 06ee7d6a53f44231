//! Query strings, read strictly: known names, each once, values of the right form.

use super::refusal::Refusal;
use axum::extract::Query as Pairs;
use axum::http::Uri;

/// Most entries of a page.
pub(super) const LIMIT_MAX: u64 = 1000;
/// Entries of a page when nothing else is asked for.
const LIMIT_DEFAULT: u64 = 100;
/// The largest integer that every reader of JSON holds exactly.
const OFFSET_MAX: u64 = (1 << 53) - 1;
/// Longest value, in characters.
const VALUE_CHARS_MAX: usize = 256;

/// The names and values of a query string, decoded.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

/// Which part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageOf {
    pub(super) limit: usize,
    pub(super) offset: u64,
}

impl PageOf {
    /// The part of `all`.
    pub(super) fn of<T>(self, all: &[T]) -> &[T] {
        let from = usize::try_from(self.offset).unwrap_or(usize::MAX).min(all.len());
        let to = from.saturating_add(self.limit).min(all.len());
        &all[from..to]
    }
}

/// All pairs, whatever their names.
pub(super) fn pairs(uri: &Uri) -> Result<Vec<(String, String)>, Refusal> {
    let Pairs(pairs) = Pairs::try_from_uri(uri).map_err(|_| {
        Refusal::bad_request("the query can't be read; write name=value&name=value")
    })?;
    Ok(pairs)
}

impl Query {
    /// Reads the query of `uri`, which may have these `names` only.
    pub(super) fn parse(uri: &Uri, names: &[&str]) -> Result<Query, Refusal> {
        let pairs = pairs(uri)?;
        for (at, (name, value)) in pairs.iter().enumerate() {
            if !names.contains(&name.as_str()) {
                let known = match names {
                    [] => "this path takes none".to_owned(),
                    names => format!("this path takes {}", names.join(", ")),
                };
                return Err(Refusal::bad_request(format!("unknown parameter; {known}")));
            }
            if pairs[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(Refusal::bad_request(format!("{name} is given twice; give it once")));
            }
            if value.chars().count() > VALUE_CHARS_MAX {
                return Err(wrong(name, "a shorter text"));
            }
        }
        Ok(Query(pairs))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A number of digits alone.
    fn number(&self, name: &str, default: u64, least: u64, most: u64) -> Result<u64, Refusal> {
        let Some(text) = self.text(name) else { return Ok(default) };
        let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| is_digits);
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| wrong(name, &format!("a number from {least} to {most}")))
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, Refusal> {
        self.word(name, "true or false", |word| match word {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        })
        .map(|flag| flag.unwrap_or(false))
    }

    /// One of a few words; `None` when it is not given.
    pub(super) fn word<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        self.text(name).map(|word| read(word).ok_or_else(|| wrong(name, expected))).transpose()
    }

    pub(super) fn page(&self) -> Result<PageOf, Refusal> {
        let limit = self.number("limit", LIMIT_DEFAULT, 1, LIMIT_MAX)?;
        let offset = self.number("offset", 0, 0, OFFSET_MAX)?;
        Ok(PageOf { limit: usize::try_from(limit).unwrap_or(usize::MAX), offset })
    }
}

fn wrong(name: &str, expected: &str) -> Refusal {
    Refusal::bad_request(format!("{name} has the wrong form; give {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str) -> Option<(usize, u64)> {
        let uri: Uri = format!("/x?{query}").parse().unwrap();
        let query = Query::parse(&uri, &["limit", "offset", "npub"]).ok()?;
        query.page().ok().map(|page| (page.limit, page.offset))
    }

    #[test]
    fn pages_are_read_strictly() {
        assert_eq!(page(""), Some((100, 0)));
        assert_eq!(page("limit=1&offset=7"), Some((1, 7)));
        assert_eq!(page("offset=9007199254740991"), Some((100, OFFSET_MAX)));
        for wrong in [
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=%2B1",
            "limit=1.0",
            "limit=",
            "limit=ten",
            "limit=99999999999999999999999",
            "offset=-1",
            "offset=9007199254740992",
            "limit=1&limit=1",
            "limit=1&limit=2",
            "page=1",
        ] {
            assert_eq!(page(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_page_beyond_the_end_is_empty() {
        let of = |limit, offset| PageOf { limit, offset }.of(&[1, 2, 3]).to_vec();
        assert_eq!(of(2, 0), [1, 2]);
        assert_eq!(of(2, 2), [3]);
        assert!(of(2, 3).is_empty());
        assert!(of(1000, OFFSET_MAX).is_empty());
    }
}
