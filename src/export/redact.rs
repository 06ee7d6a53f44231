//! Taking the money out of documents: bearer secrets hashed, wallets' private keys hashed or left out.
//!
//! Works on bytes: every byte that is neither secret nor a length around one stays as it is. A value
//! keeps its name and place. Text becomes text (64 hex digits) and anything else that has content
//! becomes binary, so what an analysis counts as a secret stays exactly that, and equal values stay
//! equal. The key of the hash lives only in this process and is never written.
//!
//! Hashed are, at any depth and however often they occur: the values of [`SECRET_NAMES`]; whatever lies in
//! `proofs` without a document of its own; what holds an encoded token (`cashuA…`, `cashuB…`, `crawB…`) or proofs as
//! JSON text. Names of fields stay, whatever they say.

use crate::document::{
    DOCUMENT_BYTES_MAX, Element, Fault, Malformed, Value, ValueKind, document_length, elements,
    holds_token,
};
use hmac::{Hmac, KeyInit, Mac};
use memchr::memmem::Finder;
use sha2::Sha256;
use std::fmt;
use std::sync::LazyLock;

/// Fields whose values are hashed.
const SECRET_NAMES: [&[u8]; 5] = [b"secret", b"C", b"witness", b"dleq", KEY_NAME];
/// The wallets' private key.
const KEY_NAME: &[u8] = b"p2pk_privkey";
/// Finds [`KEY_NAME`] in a document's bytes.
static KEY_NAME_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(KEY_NAME));
const PROOFS_NAME: &[u8] = b"proofs";
/// Deeper than the server stores (181 levels measured with 6.0.5).
const DEPTH_MAX: usize = 256;

/// What is done to each document of a collection.
pub(super) enum Redaction {
    /// Nothing: every byte as stored.
    None,
    /// `p2pk_privkey` is left out wherever it occurs.
    OmitKeys,
    /// Everything secret is hashed.
    Hash(HashKey),
}

/// A key that nobody keeps.
#[derive(Clone)]
pub(super) struct HashKey(Hmac<Sha256>);

impl HashKey {
    /// A key from `bytes`, which must be random and are not to be kept. `None` never happens: HMAC takes
    /// keys of any length.
    pub(super) fn new(bytes: &[u8; 32]) -> Option<HashKey> {
        Hmac::<Sha256>::new_from_slice(bytes).ok().map(HashKey)
    }

    fn hash(&self, kind: ValueKind, content: &[u8]) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(&[kind.byte()]);
        mac.update(content);
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey")
    }
}

/// Why a document could not be made safe. Holds no content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unredactable {
    /// Its bytes break the specification.
    #[error("{0}")]
    Malformed(Fault),
    /// The hashes are longer than the values, and the document has no room for that.
    #[error(
        "a length of {0} bytes with its secrets hashed, more than the {DOCUMENT_BYTES_MAX} of any document"
    )]
    TooLong(usize),
}

impl From<Malformed> for Unredactable {
    // The offset counts from a nested document here, so it would mislead.
    fn from(malformed: Malformed) -> Unredactable {
        Unredactable::Malformed(malformed.fault)
    }
}

/// Where an element stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    /// Among fields, which have names.
    Fields,
    /// In `proofs`, where a value that is no document has no name that tells what it is.
    Proofs,
}

/// What becomes of an element.
enum Fate {
    Keep,
    Omit,
    Hash,
    Enter(Within),
}

impl Redaction {
    /// Whether every byte of `document` is known to stay as it is, without walking it.
    pub(super) fn leaves(&self, document: &[u8]) -> bool {
        match self {
            Redaction::None => true,
            // An element's name stands in its document's bytes.
            Redaction::OmitKeys => KEY_NAME_FINDER.find(document).is_none(),
            Redaction::Hash(_) => false,
        }
    }

    /// Appends `document`, redacted, to `into`.
    pub(super) fn append(&self, document: &[u8], into: &mut Vec<u8>) -> Result<(), Unredactable> {
        let start = into.len();
        match self {
            Redaction::None => into.extend_from_slice(document),
            _ => self.rewrite(document, Within::Fields, 1, into)?,
        }
        let length = into.len() - start;
        if length > DOCUMENT_BYTES_MAX {
            return Err(Unredactable::TooLong(length));
        }
        Ok(())
    }

    fn rewrite(
        &self,
        document: &[u8],
        within: Within,
        depth: usize,
        into: &mut Vec<u8>,
    ) -> Result<(), Unredactable> {
        if depth > DEPTH_MAX {
            return Err(Unredactable::Malformed(Fault::TooDeep));
        }
        let start = into.len();
        into.extend_from_slice(&[0; 4]);
        for element in elements(document)? {
            let element = element?;
            match self.fate(&element, within) {
                Fate::Omit => {}
                Fate::Keep => into.extend_from_slice(&document[element.start..element.end]),
                Fate::Hash => self.hash(&element, into),
                Fate::Enter(inner) => {
                    into.extend_from_slice(&document[element.start..value_start(&element)]);
                    self.enter(element.value, inner, depth + 1, into)?;
                }
            }
        }
        into.push(0);
        restore_length(into, start);
        Ok(())
    }

    fn fate(&self, element: &Element<'_>, within: Within) -> Fate {
        let Value { kind, bytes } = element.value;
        if matches!(self, Redaction::OmitKeys) {
            return match kind {
                _ if element.name == KEY_NAME => Fate::Omit,
                ValueKind::Document | ValueKind::Array => Fate::Enter(Within::Fields),
                ValueKind::CodeWithScope => Fate::Enter(Within::Fields),
                _ => Fate::Keep,
            };
        }
        if SECRET_NAMES.contains(&element.name) {
            return Fate::Hash;
        }
        let is_proofs = within == Within::Proofs || element.name == PROOFS_NAME;
        match kind {
            ValueKind::Array if is_proofs => Fate::Enter(Within::Proofs),
            ValueKind::Document if element.name == PROOFS_NAME => Fate::Enter(Within::Proofs),
            ValueKind::Document | ValueKind::Array => Fate::Enter(Within::Fields),
            _ if is_proofs => Fate::Hash,
            _ if holds_token(bytes) => Fate::Hash,
            ValueKind::CodeWithScope => Fate::Enter(Within::Fields),
            _ => Fate::Keep,
        }
    }

    /// Appends a value that holds documents: one itself, or code with its scope.
    fn enter(
        &self,
        value: Value<'_>,
        within: Within,
        depth: usize,
        into: &mut Vec<u8>,
    ) -> Result<(), Unredactable> {
        if value.kind != ValueKind::CodeWithScope {
            return self.rewrite(value.bytes, within, depth, into);
        }
        let scope = scope_start(value.bytes).ok_or(Unredactable::Malformed(Fault::Overrun))?;
        let start = into.len();
        into.extend_from_slice(&value.bytes[..scope]);
        self.rewrite(&value.bytes[scope..], within, depth, into)?;
        restore_length(into, start);
        Ok(())
    }

    /// Appends the element with its value hashed; what has no content stays.
    fn hash(&self, element: &Element<'_>, into: &mut Vec<u8>) {
        let Redaction::Hash(key) = self else { return };
        let Value { kind, bytes } = element.value;
        let text = element.value.as_text_bytes();
        let put_name = |kind: ValueKind, into: &mut Vec<u8>| {
            into.push(kind.byte());
            into.extend_from_slice(element.name);
            into.push(0);
        };
        match text {
            Some([]) => {
                put_name(kind, into);
                into.extend_from_slice(bytes);
            }
            Some(text) => {
                put_name(kind, into);
                into.extend_from_slice(&65_i32.to_le_bytes());
                let digest = key.hash(kind, text);
                for byte in digest {
                    into.extend([byte >> 4, byte & 15].map(hex_digit));
                }
                into.push(0);
            }
            None if bytes.is_empty() => put_name(kind, into),
            None => {
                put_name(ValueKind::Binary, into);
                into.extend_from_slice(&32_i32.to_le_bytes());
                into.push(0);
                into.extend_from_slice(&key.hash(kind, bytes));
            }
        }
    }
}

const fn hex_digit(nibble: u8) -> u8 {
    match nibble {
        0..10 => b'0' + nibble,
        _ => b'a' + (nibble - 10),
    }
}

fn value_start(element: &Element<'_>) -> usize {
    element.end - element.value.bytes.len()
}

/// Where the scope begins in code with scope: after its length and its code, a string.
fn scope_start(bytes: &[u8]) -> Option<usize> {
    let code = i32::from_le_bytes(*bytes.get(4..)?.first_chunk()?);
    let start = usize::try_from(code).ok()?.checked_add(8)?;
    let scope = bytes.get(start..)?;
    (document_length(scope).ok()?? == scope.len()).then_some(start)
}

/// Sets the length field of what begins at `start` and ends `bytes`.
fn restore_length(bytes: &mut [u8], start: usize) {
    // Hashes make an element at most 13 times as long, so a document stays far below i32::MAX.
    let length = i32::try_from(bytes.len() - start).unwrap_or(i32::MAX);
    bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

#[cfg(test)]
mod tests;
