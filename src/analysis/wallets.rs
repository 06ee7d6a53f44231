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

/// Fingerprints of all wallets by `_id`; of several with one, those of the first.
#[derive(Debug, Default)]
pub(super) struct WalletTable {
    wallets: HashMap<u128, Wallet>,
    twins: Option<[u64; 2]>,
}

fn fingerprint(key: &Fingerprints, value: Option<Value<'_>>) -> u64 {
    value.map_or(0, |value| key.half_value(value))
}

impl WalletTable {
    /// Validates a wallet document and adds it.
    pub(super) fn add(
        &mut self,
        key: &Fingerprints,
        ordinal: u64,
        document: &[u8],
    ) -> Result<(), Malformed> {
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
            self.insert(key.wide_value(id), wallet);
        }
        Ok(())
    }

    /// The first wallet with an `_id` stays, so that the first two are compared in whatever order all come.
    fn insert(&mut self, id: u128, wallet: Wallet) {
        match self.wallets.entry(id) {
            Entry::Vacant(entry) => {
                entry.insert(wallet);
            }
            Entry::Occupied(mut entry) => {
                let (first, second) = (wallet.min(*entry.get()), wallet.max(*entry.get()));
                entry.insert(first);
                self.note_twins(Some([first.ordinal, second.ordinal]));
            }
        }
    }

    fn note_twins(&mut self, twins: Option<[u64; 2]>) {
        self.twins = self.twins.into_iter().chain(twins).min();
    }

    /// Takes over all of `other`.
    pub(super) fn merge(&mut self, other: WalletTable) {
        if self.wallets.is_empty() {
            *self = other;
            return;
        }
        self.note_twins(other.twins);
        other.wallets.into_iter().for_each(|(id, wallet)| self.insert(id, wallet));
    }

    /// The numbers of the first two wallets with one `_id`.
    pub(super) fn twins(&self) -> Option<[u64; 2]> {
        self.twins
    }

    /// Memory in use, about.
    pub(super) fn memory_bytes(&self) -> usize {
        self.wallets.capacity() * WALLET_BYTES
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
        match self.wallets.get(&key.wide_value(id)) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn twins_are_the_first_two_whichever_workers_met_them(
            wallets in proptest::collection::vec((0_u128..12, 0_usize..3), 0..12),
            first_merged in 0_usize..3,
        ) {
            let mut workers = Vec::from_iter((0..3).map(|_| WalletTable::default()));
            for (ordinal, (id, worker)) in (0..).zip(&wallets) {
                workers[*worker].insert(*id, Wallet { ordinal, npub: 0, mint: 0 });
            }
            workers.rotate_left(first_merged);
            let mut all = WalletTable::default();
            workers.into_iter().for_each(|worker| all.merge(worker));
            let ids = Vec::from_iter(wallets.iter().map(|(id, _)| id));
            let second = |first: usize| (first + 1..ids.len()).find(|at| ids[*at] == ids[first]);
            let pairs = (0..ids.len()).filter_map(|first| Some([first, second(first)?]));
            let expected = pairs.min().map(|pair| pair.map(|at| u64::try_from(at).unwrap()));
            prop_assert_eq!(all.twins(), expected);
        }
    }
}
