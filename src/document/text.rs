//! Values as text for people: identifiers and dates in reports.

use super::value::{Value, ValueKind};
use crate::model::{Timestamp, hash_bytes};
use memchr::{memchr, memchr2_iter, memmem};

/// An identifier as text: an ObjectId as 24 hex digits, text as itself, other scalars in a form that
/// names their type and loses nothing. Text that is not UTF-8 shows U+FFFD in place of what is not.
///
/// What could hold a bearer secret is named by type and SHA-256 alone: embedded documents and arrays (a
/// populated wallet holds its private key), code, long binaries, and text with an encoded token in it.
#[must_use]
pub fn identifier_text(value: Value<'_>) -> String {
    if may_hold_secret(value) {
        let hash = hash_bytes(value.bytes).to_string();
        return format!("({:?}, SHA-256 {}...)", value.kind, &hash[..16]);
    }
    match value.kind {
        ValueKind::ObjectId => hex(value.bytes),
        ValueKind::String => {
            String::from_utf8_lossy(value.as_text_bytes().unwrap_or_default()).into_owned()
        }
        ValueKind::Int32 | ValueKind::Int64 => {
            let name = if value.kind == ValueKind::Int32 { "$numberInt" } else { "$numberLong" };
            format!("{{\"{name}\":\"{}\"}}", value.as_amount().unwrap_or_default())
        }
        ValueKind::DateTime => date_text(value),
        ValueKind::Null => "null".to_owned(),
        other => format!("{{\"$bson\":\"{:02x}:{}\"}}", other.byte(), hex(value.bytes)),
    }
}

/// Longest binary that is an identifier: a UUID or a hash.
const BINARY_SHOWN_MAX: usize = 4 + 1 + 32;
/// What encoded ecash tokens begin with (NUT-00), as text and raw, before the version.
const TOKEN_MARKS: [&[u8]; 2] = [b"cashu", b"craw"];
/// The name of a proof's secret where proofs are written as JSON.
const JSON_SECRET: &[u8] = b"\"secret\"";
/// The versions of encoded tokens, 3 and 4.
const TOKEN_VERSIONS: [u8; 2] = *b"AB";

/// Whether a value that should be an identifier could hold a bearer secret.
#[must_use]
pub fn may_hold_secret(value: Value<'_>) -> bool {
    match value.kind {
        ValueKind::Document | ValueKind::Array | ValueKind::Code | ValueKind::CodeWithScope => true,
        ValueKind::Binary => value.bytes.len() > BINARY_SHOWN_MAX,
        _ => holds_token(value.bytes),
    }
}

/// Whether text holds an encoded ecash token or proofs as JSON, which are money to whoever reads them.
#[must_use]
pub fn holds_token(text: &[u8]) -> bool {
    let [third, fourth] = TOKEN_VERSIONS;
    let is_marked = |at| TOKEN_MARKS.iter().any(|mark| text[..at].ends_with(mark));
    memchr2_iter(third, fourth, text).any(is_marked)
        || memchr(b'"', text).is_some_and(|at| memmem::find(&text[at..], JSON_SECRET).is_some())
}

/// What stands in a date field: the time when it is a date, `null`, or the type that stands there
/// instead, in brackets.
#[must_use]
pub fn date_text(value: Value<'_>) -> String {
    match (value.as_date_ms(), value.kind) {
        (Some(ms), _) => Timestamp(ms).to_string(),
        (None, ValueKind::Null) => "null".to_owned(),
        (None, other) => format!("({other:?})"),
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    push_hex(bytes, &mut text);
    text
}

/// Appends `bytes` in lower-case hexadecimal digits.
pub(crate) fn push_hex(bytes: &[u8], text: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from(DIGITS[usize::from(nibble)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_money_is_named_and_not_shown() {
        let wallet = b"\x22\0\0\0\x02p2pk_privkey\0\x0b\0\0\0canary-key\0\0";
        let token = b"\x0d\0\0\0 cashuAcanary\0";
        for (kind, bytes) in [
            (ValueKind::Document, &wallet[..]),
            (ValueKind::String, token),
            (ValueKind::String, b"\x1e\0\0\0[{\"secret\":\"canary\",\"C\":\"02\"}]\0"),
            (ValueKind::Binary, &[b'c'; 100]),
        ] {
            let value = Value { kind, bytes };
            assert!(may_hold_secret(value));
            let text = identifier_text(value);
            assert!(text.contains("SHA-256") && !text.contains("canary"), "{text}");
        }
    }

    #[test]
    fn identifiers_that_hold_no_secret_are_shown() {
        let id = Value { kind: ValueKind::ObjectId, bytes: &[0xab; 12] };
        assert_eq!(identifier_text(id), "ab".repeat(12));
        let number = Value { kind: ValueKind::Int32, bytes: &5_i32.to_le_bytes() };
        assert_eq!(identifier_text(number), "{\"$numberInt\":\"5\"}");
        let text = Value { kind: ValueKind::String, bytes: b"\x03\0\0\0tx\0" };
        assert_eq!(identifier_text(text), "tx");
    }
}
