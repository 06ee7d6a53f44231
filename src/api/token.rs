//! The token: read, never shown, compared on hashes in constant time.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

const HEX_DIGITS_MIN: usize = 32;
const BASE64URL_DIGITS_MIN: usize = 22;
const LENGTH_MAX: usize = 1024;
/// A token of fewer different characters was not made by chance.
const VARIETY_MIN: usize = 8;

/// Why a token can't be used. Never holds any of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Other characters, or none at all.
    #[error(
        "the API token may hold letters, digits, - and _ only, at most {LENGTH_MAX} of them; make one with: openssl rand -hex 32"
    )]
    Characters,
    /// Too short.
    #[error(
        "the API token has fewer than 128 bits (32 hex digits, or 22 characters of base64url); make one with: openssl rand -hex 32"
    )]
    TooShort,
    /// The same few characters again and again.
    #[error(
        "the API token repeats a few characters and can be guessed; make one with: openssl rand -hex 32"
    )]
    TooPlain,
    /// The file can't be read.
    #[error("could not read the token file {path}: {reason}; check --token-file")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// Not a regular file.
    #[error("the token file {path} is not a regular file; give one that holds the token alone")]
    NotAFile {
        /// The file.
        path: String,
    },
    /// Others may read it.
    #[error("the token file {path} can be read by other users; run: chmod 600 {path}")]
    Open {
        /// The file.
        path: String,
    },
}

/// What a client has to show: only a keyed hash of it is kept.
#[derive(Clone)]
pub struct ApiToken {
    /// The hash under a key that nobody knows, and that lives as long as the process.
    keyed: Hmac<Sha256>,
    expected: [u8; 32],
}

impl std::fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiToken")
    }
}

impl ApiToken {
    /// Takes a token of at least 128 bits; one newline at its end does not count.
    ///
    /// # Errors
    /// [`TokenError`] when it is too short, too plain or has other characters.
    pub fn parse(text: &str) -> Result<ApiToken, TokenError> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if text.is_empty() || text.len() > LENGTH_MAX || !text.bytes().all(is_allowed) {
            return Err(TokenError::Characters);
        }
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if text.len() < if is_hex { HEX_DIGITS_MIN } else { BASE64URL_DIGITS_MIN } {
            return Err(TokenError::TooShort);
        }
        let mut seen = [false; 256];
        text.bytes().for_each(|byte| seen[usize::from(byte)] = true);
        if seen.iter().filter(|seen| **seen).count() < VARIETY_MIN {
            return Err(TokenError::TooPlain);
        }
        let mut key = [0; 32];
        if getrandom::fill(&mut key).is_err() {
            key = [1; 32]; // the comparison stays in constant time
        }
        let Ok(keyed) = Hmac::new_from_slice(&key) else {
            return Err(TokenError::TooPlain); // never happens: HMAC takes keys of any length
        };
        let expected = hash(&keyed, text.as_bytes());
        Ok(ApiToken { keyed, expected: expected.finalize().into_bytes().into() })
    }

    /// Reads it from a file that only its owner can read.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn read(path: &Path) -> Result<ApiToken, TokenError> {
        let shown = || crate::analysis::printable(&path.display().to_string());
        let unreadable = |error: &std::io::Error| TokenError::Unreadable {
            path: shown(),
            reason: crate::publish::io_reason(error),
        };
        // Opening a FIFO must not wait for whoever writes to it.
        let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
        let file = File::options().read(true).custom_flags(nonblocking).open(path);
        let file = file.map_err(|error| unreadable(&error))?;
        let about = file.metadata().map_err(|error| unreadable(&error))?;
        if !about.is_file() {
            return Err(TokenError::NotAFile { path: shown() });
        }
        if about.mode() & 0o077 != 0 {
            return Err(TokenError::Open { path: shown() });
        }
        let mut text = Vec::new();
        let read = file.take(LENGTH_MAX as u64 + 3).read_to_end(&mut text);
        read.map_err(|error| unreadable(&error))?;
        ApiToken::parse(std::str::from_utf8(&text).map_err(|_| TokenError::Characters)?)
    }

    /// Whether `shown` is the token; takes as long whatever is shown.
    pub(super) fn is(&self, shown: &[u8]) -> bool {
        hash(&self.keyed, shown).verify_slice(&self.expected).is_ok()
    }
}

fn hash(keyed: &Hmac<Sha256>, text: &[u8]) -> Hmac<Sha256> {
    keyed.clone().chain_update(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const HEX: &str = "00112233445566778899aabbccddeeff";

    #[test]
    fn only_the_token_itself_is_the_token() {
        let token = ApiToken::parse(HEX).unwrap();
        assert!(token.is(HEX.as_bytes()));
        for other in ["", "0", &HEX[1..], &HEX.to_uppercase(), &format!("{HEX} ")] {
            assert!(!token.is(other.as_bytes()), "{other:?}");
        }
        assert!(ApiToken::parse(&format!("{HEX}\n")).unwrap().is(HEX.as_bytes()));
        assert_eq!(format!("{token:?}"), "ApiToken");
    }

    #[test]
    fn a_token_has_at_least_128_bits() {
        let refused = |text: &str| ApiToken::parse(text).err();
        assert_eq!(refused(""), Some(TokenError::Characters));
        assert_eq!(refused(&HEX[..31]), Some(TokenError::TooShort));
        assert_eq!(refused("abcdefghijklmnopqrstu"), Some(TokenError::TooShort));
        assert_eq!(refused("abcdefghijklmnopqrstuv"), None);
        assert_eq!(refused(&"a1".repeat(40)), Some(TokenError::TooPlain));
        assert_eq!(refused(&format!("{HEX}\n\n")), Some(TokenError::Characters));
        assert_eq!(refused("two words that are long enough"), Some(TokenError::Characters));
        assert_eq!(refused(&HEX.repeat(33)), Some(TokenError::Characters));
    }

    #[test]
    fn a_token_file_belongs_to_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        assert!(matches!(ApiToken::read(&path), Err(TokenError::Unreadable { .. })));
        fs::write(&path, format!("{HEX}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(ApiToken::read(&path), Err(TokenError::Open { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(ApiToken::read(&path).unwrap().is(HEX.as_bytes()));
        assert!(matches!(ApiToken::read(directory.path()), Err(TokenError::NotAFile { .. })));
    }
}
