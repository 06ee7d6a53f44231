//! Building a document byte by byte, values of other documents carried over as they are.

use super::value::{Value, ValueKind};

/// A document under construction. Names must hold no 0 byte; they are this crate's own constants or
/// come from validated documents.
#[derive(Debug)]
pub struct DocumentBuilder {
    bytes: Vec<u8>,
    /// Where each open document begins, the outermost first.
    open: Vec<usize>,
}

impl Default for DocumentBuilder {
    fn default() -> Self {
        DocumentBuilder::new()
    }
}

impl DocumentBuilder {
    /// An empty document.
    #[must_use]
    pub fn new() -> DocumentBuilder {
        DocumentBuilder::onto(Vec::new())
    }

    /// Appends the document to `bytes`, which [`DocumentBuilder::finish`] gives back.
    #[must_use]
    pub fn onto(mut bytes: Vec<u8>) -> DocumentBuilder {
        let start = bytes.len();
        bytes.extend_from_slice(&[0; 4]);
        DocumentBuilder { bytes, open: vec![start] }
    }

    fn name(&mut self, kind: ValueKind, name: &str) {
        self.bytes.push(kind.byte());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
    }

    /// A value taken over as it is.
    #[must_use]
    pub fn value(mut self, name: &str, value: Value<'_>) -> Self {
        self.name(value.kind, name);
        self.bytes.extend_from_slice(value.bytes);
        self
    }

    /// A value taken over as it is, or nothing.
    #[must_use]
    pub fn value_if(self, name: &str, value: Option<Value<'_>>) -> Self {
        match value {
            Some(value) => self.value(name, value),
            None => self,
        }
    }

    /// Text.
    #[must_use]
    pub fn text(mut self, name: &str, text: &str) -> Self {
        self.name(ValueKind::String, name);
        // A document stays far below i32::MAX.
        let length = i32::try_from(text.len() + 1).unwrap_or(i32::MAX);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        self
    }

    /// A 64-bit integer.
    #[must_use]
    pub fn int64(mut self, name: &str, number: i64) -> Self {
        self.name(ValueKind::Int64, name);
        self.bytes.extend_from_slice(&number.to_le_bytes());
        self
    }

    /// A date, in milliseconds since 1970.
    #[must_use]
    pub fn date(mut self, name: &str, ms: i64) -> Self {
        self.name(ValueKind::DateTime, name);
        self.bytes.extend_from_slice(&ms.to_le_bytes());
        self
    }

    /// Binary of the generic subtype.
    #[must_use]
    pub fn binary(mut self, name: &str, data: &[u8]) -> Self {
        self.name(ValueKind::Binary, name);
        let length = i32::try_from(data.len()).unwrap_or(i32::MAX);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.push(0);
        self.bytes.extend_from_slice(data);
        self
    }

    /// Opens an embedded document.
    #[must_use]
    pub fn open(mut self, name: &str) -> Self {
        self.name(ValueKind::Document, name);
        self.open.push(self.bytes.len());
        self.bytes.extend_from_slice(&[0; 4]);
        self
    }

    /// Closes the embedded document opened last.
    #[must_use]
    pub fn close(mut self) -> Self {
        self.end();
        self
    }

    fn end(&mut self) {
        if let Some(start) = self.open.pop() {
            self.bytes.push(0);
            let length = i32::try_from(self.bytes.len() - start).unwrap_or(i32::MAX);
            self.bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
        }
    }

    /// The bytes, with everything closed.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        while !self.open.is_empty() {
            self.end();
        }
        self.bytes
    }
}
