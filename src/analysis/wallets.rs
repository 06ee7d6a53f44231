//! The wallets, as far as tokens are checked against them.

use super::fingerprint::Fingerprints;
use crate::document::{Malformed, Value, elements, validate_value};
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

/// Memory that one wallet takes in the table: key, value and a byte of the table's own, with an eighth
/// of the places empty.
const WALLET_BYTES: usize = (size_of::<u128>() + size_of::<Wallet>() + 1) * 8 / 7;

/// What a token's `wallet_id` leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WalletCheck {
    /// The token has no `wallet_id`, or null.
    NoId,
    /// No wallet has that `_id`.
    Dangling,
    /// The wallets are not known.
    Unknown,
    /// The wallet is there.
    Found { same_npub: bool, same_mint: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wallet {
    ordinal: u64,
    npub: u64,
    mint: u64,
}

/// Fingerprints of all wallets by `_id`.
#[derive(Debug, Default)]
pub(super) struct WalletTable(HashMap<u128, Wallet>);

fn fingerprint(key: &Fingerprints, value: Option<Value<'_>>) -> u64 {
    value.map_or(0, |value| key.half_value(value))
}

impl WalletTable {
    /// Validates a wallet document and adds it; gives the numbers of two wallets with one `_id`.
    pub(super) fn add(
        &mut self,
        key: &Fingerprints,
        ordinal: u64,
        document: &[u8],
    ) -> Result<Option<[u64; 2]>, Malformed> {
        let (mut id, mut npub, mut mint) = (None, None, None);
        for element in elements(document)? {
            let element = element?;
            let slot = match element.name {
                b"_id" => Some(&mut id),
                b"npub" => Some(&mut npub),
                b"mint_url" => Some(&mut mint),
                _ => None,
            };
            if let Some(slot) = slot {
                slot.get_or_insert(element.value);
            }
            validate_value(&element, 1)?;
        }
        if let Some(id) = id {
            let wallet =
                Wallet { ordinal, npub: fingerprint(key, npub), mint: fingerprint(key, mint) };
            return Ok(self.insert(key.wide_value(id), wallet));
        }
        Ok(None)
    }

    fn insert(&mut self, id: u128, wallet: Wallet) -> Option<[u64; 2]> {
        match self.0.entry(id) {
            Entry::Vacant(entry) => {
                entry.insert(wallet);
                None
            }
            Entry::Occupied(entry) => {
                let (one, other) = (entry.get().ordinal, wallet.ordinal);
                Some([one.min(other), one.max(other)])
            }
        }
    }

    /// Takes over all of `other`; gives the numbers of the first two wallets with one `_id`.
    pub(super) fn merge(&mut self, other: WalletTable) -> Option<[u64; 2]> {
        if self.0.is_empty() {
            *self = other;
            return None;
        }
        other.0.into_iter().filter_map(|(id, wallet)| self.insert(id, wallet)).min()
    }

    /// Memory in use, about.
    pub(super) fn memory_bytes(&self) -> usize {
        self.0.capacity() * WALLET_BYTES
    }

    /// What a token's fields say of its wallet.
    pub(super) fn check(
        &self,
        key: &Fingerprints,
        wallet_id: Option<Value<'_>>,
        npub: Option<Value<'_>>,
        mint_url: Option<Value<'_>>,
    ) -> WalletCheck {
        let Some(id) = wallet_id.filter(|id| !id.is_null()) else { return WalletCheck::NoId };
        match self.0.get(&key.wide_value(id)) {
            None => WalletCheck::Dangling,
            Some(wallet) => WalletCheck::Found {
                same_npub: wallet.npub == fingerprint(key, npub),
                same_mint: wallet.mint == fingerprint(key, mint_url),
            },
        }
    }
}

/// As [`WalletTable::check`] when no wallets are known.
pub(super) fn check_without_wallets(wallet_id: Option<Value<'_>>) -> WalletCheck {
    match wallet_id {
        Some(id) if !id.is_null() => WalletCheck::Unknown,
        _ => WalletCheck::NoId,
    }
}
