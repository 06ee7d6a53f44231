//! BSON as bytes, legal or not: what no typed builder would write.

use remelt::document::{Value, ValueKind};

/// A value of any type as its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawValue {
    /// The type.
    pub(crate) kind: ValueKind,
    /// What follows the name.
    pub(crate) bytes: Vec<u8>,
}

impl RawValue {
    /// A value from its bytes.
    pub(crate) fn new(kind: ValueKind, bytes: impl Into<Vec<u8>>) -> RawValue {
        RawValue { kind, bytes: bytes.into() }
    }

    /// The same, borrowed.
    pub(crate) fn borrowed(&self) -> Value<'_> {
        Value { kind: self.kind, bytes: &self.bytes }
    }
}

/// One element.
pub(crate) fn element(name: impl AsRef<[u8]>, value: &RawValue) -> Vec<u8> {
    let name = name.as_ref();
    assert!(!name.contains(&0), "a name can't hold a 0 byte");
    [&[value.kind.byte()], name, &[0], &value.bytes].concat()
}

/// The bytes of a document of these elements.
pub(crate) fn document(elements: &[Vec<u8>]) -> Vec<u8> {
    let body = elements.concat();
    let length = i32::try_from(4 + body.len() + 1).unwrap();
    [&length.to_le_bytes()[..], &body, &[0]].concat()
}

/// A string of any bytes, UTF-8 or not.
pub(crate) fn string(text: impl AsRef<[u8]>) -> RawValue {
    RawValue::new(ValueKind::String, text_bytes(text.as_ref()))
}

/// The bytes of a string: length, text and 0.
pub(crate) fn text_bytes(text: &[u8]) -> Vec<u8> {
    let length = i32::try_from(text.len() + 1).unwrap();
    [&length.to_le_bytes()[..], text, &[0]].concat()
}

/// A date.
pub(crate) fn date(ms: i64) -> RawValue {
    RawValue::new(ValueKind::DateTime, ms.to_le_bytes())
}

/// A 32-bit integer.
pub(crate) fn int32(value: i32) -> RawValue {
    RawValue::new(ValueKind::Int32, value.to_le_bytes())
}

/// A 64-bit integer.
pub(crate) fn int64(value: i64) -> RawValue {
    RawValue::new(ValueKind::Int64, value.to_le_bytes())
}

/// A double by its bits, so that every NaN can be had.
pub(crate) fn double_bits(bits: u64) -> RawValue {
    RawValue::new(ValueKind::Double, bits.to_le_bytes())
}

/// A type without content: null, undefined, the least and greatest key.
pub(crate) fn bare(kind: ValueKind) -> RawValue {
    RawValue::new(kind, [])
}

/// An embedded document.
pub(crate) fn nested(elements: &[Vec<u8>]) -> RawValue {
    RawValue::new(ValueKind::Document, document(elements))
}

/// An array, with the names that arrays have.
pub(crate) fn array(values: &[RawValue]) -> RawValue {
    let elements: Vec<Vec<u8>> =
        values.iter().enumerate().map(|(index, value)| element(index.to_string(), value)).collect();
    RawValue::new(ValueKind::Array, document(&elements))
}

/// A binary.
pub(crate) fn binary(subtype: u8, content: &[u8]) -> RawValue {
    let length = i32::try_from(content.len()).unwrap();
    RawValue::new(ValueKind::Binary, [&length.to_le_bytes()[..], &[subtype], content].concat())
}

/// A document, or an array when `kind` says so, in another, `levels` levels in all.
pub(crate) fn deep(kind: ValueKind, levels: usize) -> RawValue {
    (1..levels).fold(RawValue::new(kind, document(&[])), |inner, _| {
        RawValue::new(kind, document(&[element("0", &inner)]))
    })
}
