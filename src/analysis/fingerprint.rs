//! Keyed fingerprints of values: how equal values are brought together without keeping them.
//!
//! Under a key that an attacker who writes ledger data does not know. A 64-bit fingerprint (foldhash) only
//! proposes candidates, which are then compared in full; SipHash-1-3 stands for the value.

use crate::document::Value;
use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
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

/// What makes fingerprints under a key.
#[derive(Clone)]
pub(super) struct Fingerprints {
    key: [u8; 16],
    seed: u64,
    shared_seed: SharedSeed,
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
        }
    }

    /// 128 bits of `bytes`.
    pub(super) fn wide(&self, bytes: &[u8]) -> u128 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write(bytes);
        hasher.finish128().as_u128()
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
        hasher.finish()
    }

    /// 64 bits of a value, its type included.
    #[inline]
    pub(super) fn narrow_value(&self, value: Value<'_>) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared_seed);
        hasher.write_u8(value.kind.byte());
        hasher.write(value.bytes);
        hasher.finish()
    }
}
