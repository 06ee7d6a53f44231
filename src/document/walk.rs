//! The strict walk over a document's bytes.
//!
//! Layout walked here (<https://bsonspec.org/spec.html>, version 1.1): a document is an `i32` length
//! that counts itself, elements, and one 0 byte; an element is a type byte, a name ended by 0, and a
//! value whose size follows from its type.

use super::value::{Value, ValueKind};
use std::fmt;

/// Most levels of documents and arrays in one document, the outermost counted as level 1. The
/// server stores a few more (181 measured with 6.0.5), which no ledger has; `bson` overflows its stack
/// near 850.
pub const DEPTH_MAX: usize = 100;

/// Smallest document: a length and the closing 0.
pub const DOCUMENT_BYTES_MIN: usize = 5;

/// Largest document accepted when reading: the server's 16 MiB for users plus its internal 16 KiB.
pub const DOCUMENT_BYTES_MAX: usize = 16 * 1024 * 1024 + 16 * 1024;

/// What is wrong with the bytes of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A document's length field is below 5, negative, or above [`DOCUMENT_BYTES_MAX`].
    Length(i32),
    /// The bytes end before the value that begins here does.
    Overrun,
    /// The byte that closes the document is not 0, or a 0 stands where an element should.
    Terminator,
    /// A string's length is below 1 or its last byte is not 0.
    StringLength(i32),
    /// A binary's length is negative.
    BinaryLength(i32),
    /// The type byte is none of the specification's.
    UnknownType(u8),
    /// A boolean that is neither 0 nor 1.
    Boolean(u8),
    /// Nested deeper than [`DEPTH_MAX`].
    TooDeep,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Length(seen) => write!(
                f,
                "a document length of {seen}, expected {DOCUMENT_BYTES_MIN} to {DOCUMENT_BYTES_MAX}"
            ),
            Fault::Overrun => write!(f, "a value that runs past the end of its document"),
            Fault::Terminator => write!(f, "a document that does not end with its 0 byte"),
            Fault::StringLength(seen) => write!(f, "a string with the impossible length {seen}"),
            Fault::BinaryLength(seen) => write!(f, "a binary with the impossible length {seen}"),
            Fault::UnknownType(seen) => write!(f, "an unknown BSON type 0x{seen:02x}"),
            Fault::Boolean(seen) => write!(f, "a boolean with the value {seen}, expected 0 or 1"),
            Fault::TooDeep => write!(f, "nesting deeper than {DEPTH_MAX} levels"),
        }
    }
}

/// A document whose bytes break the specification. Holds no content, so it may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at byte {offset} of the document")]
pub struct Malformed {
    /// Where, in bytes from the start of the outermost document walked.
    pub offset: usize,
    /// What.
    pub fault: Fault,
}

/// One element of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    /// The name's bytes, without the closing 0. The server stores names that are not UTF-8.
    pub name: &'a [u8],
    /// The value: its type and its bytes.
    pub value: Value<'a>,
    /// Where the element's type byte stands, from the start of its document.
    pub start: usize,
    /// Where the element ends (the next element's start), from the start of its document.
    pub end: usize,
    /// Where its document begins in the outermost one.
    base: usize,
}

impl<'a> Element<'a> {
    fn value_start(&self) -> usize {
        self.base + self.end - self.value.bytes.len()
    }

    /// The elements of this document or array, which stands in a document at level `depth` (the
    /// outermost is 1).
    ///
    /// # Errors
    /// [`Malformed`] when its frame is wrong, it is too deep, or the value is neither.
    pub fn nested(&self, depth: usize) -> Result<Elements<'a>, Malformed> {
        nested_elements(self.value.bytes, self.value_start(), depth + 1)
    }
}

/// Checks what is nested in the value of `element`, which stands in a document at level `depth`.
///
/// # Errors
/// [`Malformed`] with the offset of the first fault in the outermost document.
#[inline]
pub fn validate_value(element: &Element<'_>, depth: usize) -> Result<(), Malformed> {
    element.value.validate_inside(element.value_start(), depth)
}

/// The length that a document's first four bytes claim, checked against the bounds, or `None` while
/// fewer than four bytes are given.
///
/// # Errors
/// [`Fault::Length`] when the claimed length is out of bounds.
pub fn document_length(bytes: &[u8]) -> Result<Option<usize>, Fault> {
    let Some(head) = bytes.first_chunk::<4>() else {
        return Ok(None);
    };
    let claimed = i32::from_le_bytes(*head);
    match usize::try_from(claimed) {
        Ok(length) if (DOCUMENT_BYTES_MIN..=DOCUMENT_BYTES_MAX).contains(&length) => {
            Ok(Some(length))
        }
        _ => Err(Fault::Length(claimed)),
    }
}

/// Iterates over the elements of `document`, which must be one whole document and nothing more.
/// Values are framed, but what is inside a nested document is checked only by [`validate`].
///
/// # Errors
/// [`Malformed`] when the outer frame is wrong.
pub fn elements(document: &[u8]) -> Result<Elements<'_>, Malformed> {
    nested_elements(document, 0, 1)
}

fn frame(document: &[u8], base: usize) -> Result<(), Malformed> {
    let at = |offset, fault| Malformed { offset: base + offset, fault };
    match document_length(document) {
        Err(fault) => Err(at(0, fault)),
        Ok(Some(length)) if length == document.len() => {
            if document[length - 1] == 0 {
                Ok(())
            } else {
                Err(at(length - 1, Fault::Terminator))
            }
        }
        Ok(_) => Err(at(0, Fault::Overrun)),
    }
}

/// The elements of one document, in stored order. Ends after the first error.
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    document: &'a [u8],
    position: usize,
    base: usize,
}

impl<'a> Elements<'a> {
    /// Whether the next element's name is `name`, which is given with its closing 0. Much faster than
    /// looking at names one after another, for documents whose usual order of fields is known.
    #[inline]
    #[must_use]
    pub fn is_next<const N: usize>(&self, name: &[u8; N]) -> bool {
        let last = self.document.len() - 1;
        let rest = self.document.get(self.position + 1..last);
        rest.and_then(<[u8]>::first_chunk).is_some_and(|found| found == name)
    }

    /// The next element, whose name, with its closing 0, is known to have `name_bytes` bytes.
    #[inline]
    pub fn next_named(&mut self, name_bytes: usize) -> Option<Result<Element<'a>, Malformed>> {
        // Any other type byte is for the general step to complain of.
        let kind = ValueKind::from_byte(self.document[self.position])?;
        Some(self.take(self.position, kind, name_bytes - 1))
    }

    /// The next value if it is text named `name` (given with its closing 0) and nothing is wrong with it.
    #[inline]
    pub fn next_text<const N: usize>(&mut self, name: &[u8; N]) -> Option<Value<'a>> {
        let rest = self.next_value(ValueKind::String, name)?;
        let text_bytes = usize::try_from(i32::from_le_bytes(*rest.first_chunk()?)).ok()?;
        let bytes = rest.get(..4 + text_bytes)?;
        if text_bytes == 0 || bytes.last() != Some(&0) {
            return None;
        }
        self.position += 1 + N + bytes.len();
        Some(Value { kind: ValueKind::String, bytes })
    }

    /// The next value if it is of `kind`, whose values have `S` bytes, and named `name`.
    #[inline]
    pub fn next_sized<const S: usize, const N: usize>(
        &mut self,
        kind: ValueKind,
        name: &[u8; N],
    ) -> Option<Value<'a>> {
        let bytes = self.next_value(kind, name)?.get(..S)?;
        self.position += 1 + N + S;
        Some(Value { kind, bytes })
    }

    /// The next element if it is a document or array, as `kind` says, named `name` (given with its closing 0), and
    /// its frame fits.
    #[inline]
    pub fn next_nested<const N: usize>(
        &mut self,
        kind: ValueKind,
        name: &[u8; N],
    ) -> Option<Element<'a>> {
        let rest = self.next_value(kind, name)?;
        let length = document_length(rest).ok()??;
        let bytes = rest.get(..length)?;
        let start = self.position;
        self.position += 1 + N + length;
        Some(Element {
            name: &self.document[start + 1..start + N],
            value: Value { kind, bytes },
            start,
            end: self.position,
            base: self.base,
        })
    }

    /// What stands behind the type byte and name of the next element if these are as given.
    #[inline]
    fn next_value<const N: usize>(&self, kind: ValueKind, name: &[u8; N]) -> Option<&'a [u8]> {
        let last = self.document.len() - 1;
        let (kind_byte, rest) = self.document.get(self.position..last)?.split_first()?;
        let (found, rest) = rest.split_first_chunk()?;
        (*kind_byte == kind.byte() && found == name).then_some(rest)
    }

    /// Measures the value of the element that begins at `start` and steps behind it.
    #[inline]
    fn take(
        &mut self,
        start: usize,
        kind: ValueKind,
        name_length: usize,
    ) -> Result<Element<'a>, Malformed> {
        let name_start = start + 1;
        let value_start = name_start + name_length + 1;
        let rest = &self.document[value_start..self.document.len() - 1];
        match kind.measure(rest) {
            Err(fault) => Err(self.fail(value_start, fault)),
            Ok(length) if length <= rest.len() => {
                self.position = value_start + length;
                Ok(Element {
                    name: &self.document[name_start..name_start + name_length],
                    value: Value { kind, bytes: &rest[..length] },
                    start,
                    end: self.position,
                    base: self.base,
                })
            }
            Ok(_) => Err(self.fail(value_start, Fault::Overrun)),
        }
    }

    #[cold]
    fn fail(&mut self, offset: usize, fault: Fault) -> Malformed {
        self.position = self.document.len();
        Malformed { offset: self.base + offset, fault }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Element<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let start = self.position;
        let last = self.document.len() - 1;
        if start >= last {
            return None;
        }
        let kind_byte = self.document[start];
        let Some(kind) = ValueKind::from_byte(kind_byte) else {
            let fault =
                if kind_byte == 0 { Fault::Terminator } else { Fault::UnknownType(kind_byte) };
            return Some(Err(self.fail(start, fault)));
        };
        let name_start = start + 1;
        // The closing 0 of the document can't serve as the end of a name.
        let Some(name_length) = self.document[name_start..last].iter().position(|&b| b == 0) else {
            return Some(Err(self.fail(start, Fault::Overrun)));
        };
        Some(self.take(start, kind, name_length))
    }
}

/// Checks `document` to the last nested value.
///
/// Legal but odd content passes, as the server stores it: text that is not UTF-8, names twice, array
/// names out of order, deprecated types, `$` names.
///
/// # Errors
/// [`Malformed`] with the offset of the first fault.
pub fn validate(document: &[u8]) -> Result<(), Malformed> {
    validate_at(document, 0, 1)
}

/// As [`validate`], for a nested document at level `depth` that begins `base` bytes into the outermost.
pub(super) fn validate_at(document: &[u8], base: usize, depth: usize) -> Result<(), Malformed> {
    for element in nested_elements(document, base, depth)? {
        validate_value(&element?, depth)?;
    }
    Ok(())
}

fn nested_elements(document: &[u8], base: usize, depth: usize) -> Result<Elements<'_>, Malformed> {
    if depth > DEPTH_MAX {
        return Err(Malformed { offset: base, fault: Fault::TooDeep });
    }
    frame(document, base)?;
    Ok(Elements { document, position: 4, base })
}

/// The first element named `name`, which is the one that the server's queries see.
///
/// # Errors
/// [`Malformed`] when the frame or an element before the match is broken.
pub fn find<'a>(document: &'a [u8], name: &[u8]) -> Result<Option<Element<'a>>, Malformed> {
    for element in elements(document)? {
        let element = element?;
        if element.name == name {
            return Ok(Some(element));
        }
    }
    Ok(None)
}
