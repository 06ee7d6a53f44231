//! Keyed fingerprints of values: how equal values are brought together without keeping them.
//!
//! Under a key that an attacker who writes ledger data does not know. A 64-bit fingerprint (foldhash) only
//! proposes candidates, which are then compared in full; SipHash-1-3 stands for the value.

use super::token::Token;
use crate::document::Value;
use crate::model::hash_bytes;
use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

/// The key of all fingerprints of one analysis. It never changes a result.
#[derive(Clone, Copy)]
pub struct FingerprintKey(pub [u8; 16]);

impl FingerprintKey {
    /// A key under which many values share a fingerprint.
    #[cfg(test)]
    pub(crate) const COLLIDING: FingerprintKey = FingerprintKey(*b"bad fingerprints");

    /// Another key, which tells nothing of this one.
    #[must_use]
    pub(crate) fn next(self) -> FingerprintKey {
        let [next @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = hash_bytes(&self.0).0;
        FingerprintKey(next)
    }
}

impl std::fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FingerprintKey(…)")
    }
}

/// What makes fingerprints under a key.
#[derive(Clone)]
pub(super) struct Fingerprints {
    key: [u8; 16],
    seed: u64,
    shared_seed: SharedSeed,
    #[cfg(test)]
    narrow_mask: u64,
}

impl std::fmt::Debug for Fingerprints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fingerprints(…)")
    }
}

impl Fingerprints {
    pub(super) fn new(key: FingerprintKey) -> Fingerprints {
        // Two seeds that tell nothing of each other or of the key.
        let derived = |name: &[u8]| {
            let mut hasher = SipHasher13::new_with_key(&key.0);
            hasher.write(name);
            hasher.finish128().h1
        };
        Fingerprints {
            key: key.0,
            seed: derived(b"seed"),
            shared_seed: SharedSeed::from_u64(derived(b"shared seed")),
            #[cfg(test)]
            narrow_mask: if key.0 == FingerprintKey::COLLIDING.0 { 0x3ff } else { u64::MAX },
        }
    }

    /// 128 bits of `bytes`.
    pub(super) fn wide(&self, bytes: &[u8]) -> u128 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write(bytes);
        hasher.finish128().as_u128()
    }

    /// 128 bits that stand for the user of `token`, or for none.
    pub(super) fn user(&self, token: &Token<'_>) -> u128 {
        token.user().map_or(0, |user| self.wide(user))
    }

    /// 128 bits of a value, its type included.
    pub(super) fn wide_value(&self, value: Value<'_>) -> u128 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write_u8(value.kind.byte());
        hasher.write(value.bytes);
        hasher.finish128().as_u128()
    }

    /// 64 bits of SipHash of a value, its type included: for a value that is compared with one other.
    pub(super) fn half_value(&self, value: Value<'_>) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write_u8(value.kind.byte());
        hasher.write(value.bytes);
        hasher.finish128().h1
    }

    /// 64 bits of `bytes`.
    #[inline]
    pub(super) fn narrow(&self, bytes: &[u8]) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared_seed);
        hasher.write(bytes);
        self.narrowed(&hasher)
    }

    /// 64 bits of a value, its type included.
    #[inline]
    pub(super) fn narrow_value(&self, value: Value<'_>) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared_seed);
        hasher.write_u8(value.kind.byte());
        hasher.write(value.bytes);
        self.narrowed(&hasher)
    }

    #[cfg(not(test))]
    #[inline]
    fn narrowed(&self, hasher: &FoldHasher<'_>) -> u64 {
        hasher.finish()
    }

    #[cfg(test)]
    fn narrowed(&self, hasher: &FoldHasher<'_>) -> u64 {
        hasher.finish() & self.narrow_mask
    }
}
