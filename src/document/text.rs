//! Values as text for people: identifiers and dates in reports.

use super::value::{Value, ValueKind};
use crate::model::Timestamp;
use std::fmt::Write;

/// An identifier as text: an ObjectId as 24 hex digits, text as itself, anything else in a form that
/// names its type and loses nothing. Text that is not UTF-8 shows U+FFFD in place of what is not.
#[must_use]
pub fn identifier_text(value: Value<'_>) -> String {
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
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
