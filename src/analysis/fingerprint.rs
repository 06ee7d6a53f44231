//! Keyed fingerprints of values: how equal values are brought together without keeping them.
//!
//! SipHash-1-3 under a key that an attacker who writes ledger data does not know. A 64-bit fingerprint
//! only proposes candidates, which are then compared in full; a 128-bit one stands for the value.

use crate::document::Value;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

/// The key of all fingerprints of one analysis. It never changes a result.
#[derive(Clone, Copy)]
pub struct FingerprintKey(pub [u8; 16]);

impl std::fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FingerprintKey(…)")
    }
}

impl FingerprintKey {
    /// 128 bits of `bytes`.
    #[inline]
    pub(crate) fn wide(&self, bytes: &[u8]) -> u128 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write(bytes);
        hasher.finish128().as_u128()
    }

    /// 64 bits of `bytes`.
    #[inline]
    pub(crate) fn narrow(&self, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write(bytes);
        hasher.finish128().h1
    }

    /// 128 bits of a value, its type included.
    pub(crate) fn wide_value(&self, value: Value<'_>) -> u128 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write_u8(value.kind.byte());
        hasher.write(value.bytes);
        hasher.finish128().as_u128()
    }

    /// 64 bits of a value, its type included.
    pub(crate) fn narrow_value(&self, value: Value<'_>) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write_u8(value.kind.byte());
        hasher.write(value.bytes);
        hasher.finish128().h1
    }
}
