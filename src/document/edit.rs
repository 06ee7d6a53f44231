//! Editing one field and keeping every other byte.
//!
//! These give the bytes that the server gives for `$set` and `$unset` of one top-level field: a field
//! that is there keeps its place, one that is not is appended, and nothing else moves. The tests
//! compare with a real server.

use super::value::Value;
use super::walk::{Malformed, find};

/// `document` with its first field `name` set to `value`: in place, or appended when absent.
///
/// `name` must hold no 0 byte, and `value` must be one whole, valid value; both come from this crate's
/// own constants or from a validated document.
///
/// # Errors
/// [`Malformed`] when `document` is broken before or at the field. The result may be longer than the
/// server stores; callers check that.
pub fn set_field(document: &[u8], name: &[u8], value: Value<'_>) -> Result<Vec<u8>, Malformed> {
    let (start, end) = match find(document, name)? {
        Some(element) => (element.start, element.end),
        None => (document.len() - 1, document.len() - 1),
    };
    let mut edited = Vec::with_capacity(document.len() + 2 + name.len() + value.bytes.len());
    edited.extend_from_slice(&document[..start]);
    edited.push(value.kind.byte());
    edited.extend_from_slice(name);
    edited.push(0);
    edited.extend_from_slice(value.bytes);
    edited.extend_from_slice(&document[end..]);
    restore_length(&mut edited);
    Ok(edited)
}

/// `document` without its first field `name`; unchanged when there is none.
///
/// # Errors
/// [`Malformed`] when `document` is broken before or at the field.
pub fn remove_field(document: &[u8], name: &[u8]) -> Result<Vec<u8>, Malformed> {
    let Some(element) = find(document, name)? else {
        return Ok(document.to_vec());
    };
    let mut edited = Vec::with_capacity(document.len());
    edited.extend_from_slice(&document[..element.start]);
    edited.extend_from_slice(&document[element.end..]);
    restore_length(&mut edited);
    Ok(edited)
}

fn restore_length(document: &mut [u8]) {
    // A document is bounded by DOCUMENT_BYTES_MAX and one value by the same, so this always fits.
    let length = i32::try_from(document.len()).unwrap_or(i32::MAX);
    document[..4].copy_from_slice(&length.to_le_bytes());
}
