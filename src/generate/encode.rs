//! Writing BSON: values as the generator thinks of them, and their bytes.
//!
//! Only what a ledger needs. Odd values are first-class here, because odd ledgers are the point.

use crate::document::ValueKind;
use std::borrow::Cow;

/// A value to be written, or a field that is not there at all.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Datum {
    /// No field.
    Absent,
    Null,
    Boolean(bool),
    Int32(i32),
    Int64(i64),
    Double(f64),
    /// The bits of a decimal in MongoDB's encoding.
    Decimal(u128),
    /// Text, which may be no UTF-8.
    Text(Cow<'static, [u8]>),
    ObjectId([u8; 12]),
    /// Milliseconds since 1970.
    Date(i64),
    Timestamp(u64),
    MinKey,
    Fields(Vec<(&'static str, Datum)>),
    List(Vec<Datum>),
}

impl Datum {
    pub(super) fn text(text: &'static str) -> Datum {
        Datum::Text(Cow::Borrowed(text.as_bytes()))
    }

    pub(super) fn owned(text: impl Into<Vec<u8>>) -> Datum {
        Datum::Text(Cow::Owned(text.into()))
    }

    /// An integer in the smallest type that holds it, as the driver writes it.
    pub(super) fn integer(value: i64) -> Datum {
        i32::try_from(value).map_or(Datum::Int64(value), Datum::Int32)
    }

    /// The decimal `coefficient` × 10^`exponent`.
    pub(super) fn decimal(negative: bool, coefficient: u64, exponent: i32) -> Datum {
        const EXPONENT_BIAS: i32 = 6176;
        let biased = u128::from((EXPONENT_BIAS + exponent).unsigned_abs());
        Datum::Decimal((u128::from(negative) << 127) | (biased << 113) | u128::from(coefficient))
    }

    /// The text's bytes; nothing for other values.
    pub(super) fn text_bytes(&self) -> &[u8] {
        match self {
            Datum::Text(text) => text,
            _ => &[],
        }
    }
}

/// Begins a document (or an array) at the end of `out`; [`end_document`] takes what this returns.
pub(super) fn begin_document(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    start
}

/// Closes the document begun at `start`.
pub(super) fn end_document(out: &mut Vec<u8>, start: usize) {
    out.push(0);
    let length = length_field(out.len() - start);
    out[start..start + 4].copy_from_slice(&length);
}

/// The generator's documents are a few kilobytes, so lengths always fit.
fn length_field(length: usize) -> [u8; 4] {
    i32::try_from(length).unwrap_or(i32::MAX).to_le_bytes()
}

fn head(out: &mut Vec<u8>, kind: ValueKind, name: &str) {
    out.push(kind.byte());
    out.extend_from_slice(name.as_bytes());
    out.push(0);
}

/// Appends a text field.
pub(super) fn put_text(out: &mut Vec<u8>, name: &str, text: &[u8]) {
    head(out, ValueKind::String, name);
    out.extend_from_slice(&length_field(text.len() + 1));
    out.extend_from_slice(text);
    out.push(0);
}

/// Appends a text field: `prefix`, then `bytes` as lower-case hexadecimal digits.
pub(super) fn put_hex(out: &mut Vec<u8>, name: &str, prefix: &str, bytes: &[u8]) {
    head(out, ValueKind::String, name);
    out.extend_from_slice(&length_field(prefix.len() + 2 * bytes.len() + 1));
    out.extend_from_slice(prefix.as_bytes());
    push_hex(out, bytes);
    out.push(0);
}

/// Appends `bytes` as lower-case hexadecimal digits.
pub(super) fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        let pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        out.extend_from_slice(&pair);
    }
}

/// Begins a nested document in field `name`.
pub(super) fn begin_field(out: &mut Vec<u8>, kind: ValueKind, name: &str) -> usize {
    head(out, kind, name);
    begin_document(out)
}

/// Appends one field; nothing when it is [`Datum::Absent`].
pub(super) fn put(out: &mut Vec<u8>, name: &str, datum: &Datum) {
    let mut fixed = |kind, bytes: &[u8]| {
        head(out, kind, name);
        out.extend_from_slice(bytes);
    };
    match datum {
        Datum::Absent => {}
        Datum::Null => fixed(ValueKind::Null, &[]),
        Datum::MinKey => fixed(ValueKind::MinKey, &[]),
        Datum::Boolean(value) => fixed(ValueKind::Boolean, &[u8::from(*value)]),
        Datum::Int32(value) => fixed(ValueKind::Int32, &value.to_le_bytes()),
        Datum::Int64(value) => fixed(ValueKind::Int64, &value.to_le_bytes()),
        Datum::Double(value) => fixed(ValueKind::Double, &value.to_le_bytes()),
        Datum::Decimal(bits) => fixed(ValueKind::Decimal128, &bits.to_le_bytes()),
        Datum::ObjectId(id) => fixed(ValueKind::ObjectId, id),
        Datum::Date(at) => fixed(ValueKind::DateTime, &at.to_le_bytes()),
        Datum::Timestamp(value) => fixed(ValueKind::Timestamp, &value.to_le_bytes()),
        Datum::Text(text) => put_text(out, name, text),
        Datum::Fields(fields) => {
            let start = begin_field(out, ValueKind::Document, name);
            for (name, datum) in fields {
                put(out, name, datum);
            }
            end_document(out, start);
        }
        Datum::List(items) => {
            let start = begin_field(out, ValueKind::Array, name);
            for (position, datum) in items.iter().enumerate() {
                put(out, &position.to_string(), datum);
            }
            end_document(out, start);
        }
    }
}
