//! Sealed JSON files: indented JSON whose second line holds the SHA-256 of all the other lines.
//!
//! Anyone can check a seal with `sed 2d FILE | sha256sum`. The seal proves that a file is the one that
//! was written, not who wrote it.

use crate::model::{Sha256Hash, hash_bytes};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Largest sealed file that is read, in bytes. A plan's or snapshot's table takes some 150 bytes an
/// entry, so this is beyond a hundred billion tokens.
pub const SEALED_BYTES_MAX: u64 = 1 << 30;

/// Why a sealed file can't be trusted. Never quotes the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The file's second line is no seal.
    #[error("it is not a file that remelt wrote whole: its second line holds no SHA-256")]
    NoSeal,
    /// The content does not match the seal.
    #[error(
        "it was altered after it was written: its content has SHA-256 {seen}, its seal says {sealed}"
    )]
    Broken {
        /// Of the content.
        seen: Sha256Hash,
        /// In the file.
        sealed: Sha256Hash,
    },
    /// The seal holds but the content has another shape.
    #[error("its content has an unexpected shape at line {line}, column {column}")]
    Shape {
        /// Line, from 1, of the file without its seal.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// The file is of a version that this program does not know.
    #[error(
        "its format version is {seen}, this remelt reads version {known}; use the remelt that wrote it"
    )]
    Version {
        /// In the file.
        seen: u64,
        /// Known here.
        known: u64,
    },
}

/// `content` as a sealed file whose seal is named `key`, and the seal. `content` must serialize as an
/// object that is not empty.
///
/// # Errors
/// When `content` does not serialize.
pub fn seal(
    content: &impl Serialize,
    key: &str,
) -> Result<(String, Sha256Hash), serde_json::Error> {
    let mut text = serde_json::to_string_pretty(content)?;
    text.push('\n');
    let hash = hash_bytes(text.as_bytes());
    let body = text.split_once('\n').map_or("", |(_, body)| body);
    Ok((format!("{{\n  \"{key}\": \"{hash}\",\n{body}"), hash))
}

/// Reads what [`seal`] wrote: the content and the seal, which was checked.
///
/// # Errors
/// [`SealError`], and never a value that was not sealed with `key` and `format_version`.
pub fn unseal<T: DeserializeOwned>(
    text: &[u8],
    key: &str,
    format_version: u64,
) -> Result<(T, Sha256Hash), SealError> {
    let mut lines = text.splitn(3, |&b| b == b'\n');
    let (Some(b"{"), Some(line), Some(body)) = (lines.next(), lines.next(), lines.next()) else {
        return Err(SealError::NoSeal);
    };
    let sealed = seal_in(line, key).ok_or(SealError::NoSeal)?;
    let content = [b"{\n", body].concat();
    let seen = hash_bytes(&content);
    if seen != sealed {
        return Err(SealError::Broken { seen, sealed });
    }
    let shape = |e: serde_json::Error| SealError::Shape { line: e.line(), column: e.column() };
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Versioned {
        format_version: u64,
    }
    let versioned: Versioned = serde_json::from_slice(&content).map_err(shape)?;
    if versioned.format_version != format_version {
        return Err(SealError::Version { seen: versioned.format_version, known: format_version });
    }
    Ok((serde_json::from_slice(&content).map_err(shape)?, seen))
}

fn seal_in(line: &[u8], key: &str) -> Option<Sha256Hash> {
    let line = std::str::from_utf8(line).ok()?;
    let hex = line.strip_prefix(&format!("  \"{key}\": \""))?.strip_suffix("\",")?;
    let hash: Sha256Hash = hex.parse().ok()?;
    (hash.to_string() == hex).then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Content {
        format_version: u64,
        text: String,
    }

    fn sealed() -> (Content, String, Sha256Hash) {
        let content = Content { format_version: 3, text: "a\nb".into() };
        let (text, hash) = seal(&content, "sha256").unwrap();
        (content, text, hash)
    }

    #[test]
    fn a_sealed_file_is_read_back_and_its_seal_is_the_hash_of_the_other_lines() {
        let (content, text, hash) = sealed();
        let (read, seen) = unseal::<Content>(text.as_bytes(), "sha256", 3).unwrap();
        assert_eq!((read, seen), (content, hash));
        let without: String = text
            .split_inclusive('\n')
            .enumerate()
            .filter(|(i, _)| *i != 1)
            .map(|(_, l)| l)
            .collect();
        assert_eq!(hash_bytes(without.as_bytes()), hash);
    }

    #[test]
    fn every_altered_byte_and_every_truncation_is_detected() {
        let (_, text, _) = sealed();
        let text = text.into_bytes();
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut altered = text.clone();
                altered[at] ^= 1 << bit;
                assert!(unseal::<Content>(&altered, "sha256", 3).is_err(), "byte {at} bit {bit}");
            }
            assert!(unseal::<Content>(&text[..at], "sha256", 3).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn an_unknown_version_is_named() {
        let (_, text, _) = sealed();
        let error = unseal::<Content>(text.as_bytes(), "sha256", 4).unwrap_err();
        assert_eq!(error, SealError::Version { seen: 3, known: 4 });
    }
}
