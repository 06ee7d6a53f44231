//! Balances: what every user holds at every mint, before and after the repair.

use super::AnalyzeError;
use super::findings::is_npub_malformed;
use super::fingerprint::Fingerprints;
use super::token::Token;
use super::wallets::{WalletCheck, WalletTable};
use crate::document::{Value, ValueKind};
use crate::model::{FindingCode, Status};
use crate::scratch::{Row, RowBatch, ScratchError, SortedRows, Sorter};
use hashbrown::HashTable;
use std::sync::{Mutex, PoisonError};

/// What a user holds at a mint. Sums are of amounts; what is not an amount counts as 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// Sum by status, in the order of [`Status::ALL`], before the repair.
    pub(super) sums: [i128; Status::ALL.len()],
    /// Documents that the plan changes, and the sum of their amounts.
    pub(super) tokens_fixed: u64,
    pub(super) amount_fixed: i128,
    /// Codes found in the user's documents there, by [`FindingCode::index`]; [`Mask::FIXED`] besides.
    pub(super) mask: Mask,
}

/// A set of finding codes, and whether the plan changes a document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mask(pub(super) u32);

impl Mask {
    /// A document of the user is changed.
    pub(super) const FIXED: Mask = Mask(1 << 31);

    pub(super) fn of(code: FindingCode) -> Mask {
        Mask(1 << code.index())
    }

    pub(super) fn add(&mut self, other: Mask) {
        self.0 |= other.0;
    }

    pub(super) fn has(self, other: Mask) -> bool {
        self.0 & other.0 != 0
    }
}

impl Position {
    /// Counts a token's amount.
    pub(super) fn add_token(&mut self, token: &Token<'_>) {
        if let (Some(status), Some(amount)) = (token.status(), token.amount()) {
            self.sums[status as usize] += i128::from(amount);
        }
    }

    pub(super) fn add(&mut self, other: &Position) {
        for (sum, more) in self.sums.iter_mut().zip(other.sums) {
            *sum += more;
        }
        self.tokens_fixed += other.tokens_fixed;
        self.amount_fixed += other.amount_fixed;
        self.mask.add(other.mask);
    }

    pub(super) fn sum(&self, status: Status) -> i128 {
        self.sums[status as usize]
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.sums.iter().for_each(|sum| out.extend_from_slice(&sum.to_le_bytes()));
        out.extend_from_slice(&self.amount_fixed.to_le_bytes());
        out.extend_from_slice(&self.tokens_fixed.to_le_bytes());
        out.extend_from_slice(&self.mask.0.to_le_bytes());
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Position> {
        let (numbers, rest) = bytes.as_chunks::<16>();
        let mut numbers = numbers.iter().map(|number| i128::from_le_bytes(*number));
        let mut position = Position::default();
        for sum in &mut position.sums {
            *sum = numbers.next()?;
        }
        position.amount_fixed = numbers.next()?;
        position.tokens_fixed = u64::from_le_bytes(*rest.first_chunk()?);
        position.mask = Mask(u32::from_le_bytes(*rest.get(8..)?.first_chunk()?));
        Some(position)
    }
}

/// Sort key of a user and mint: ordered by user, then mint. `user` is `None` when `npub` is not text.
pub(super) fn position_key(user: Option<&[u8]>, mint: &[u8], key: &mut Vec<u8>) {
    key.clear();
    match user {
        None => key.push(0),
        Some(user) => {
            key.push(1);
            for part in user.split_inclusive(|byte| *byte == 0) {
                key.extend_from_slice(part);
                if part.ends_with(&[0]) {
                    key.push(0xff); // so that the end mark below sorts before any longer name
                }
            }
        }
    }
    key.extend_from_slice(&[0, 1]);
    key.extend_from_slice(mint);
}

/// Reads a [`position_key`] back; the user's name goes to `user`. Tells whether there is a user, and gives the mint.
pub(super) fn split_position_key<'k>(
    key: &'k [u8],
    user: &mut Vec<u8>,
) -> Option<(bool, &'k [u8])> {
    let (tag, mut rest) = key.split_first()?;
    user.clear();
    loop {
        let zero = memchr::memchr(0, rest)?;
        user.extend_from_slice(&rest[..zero]);
        let (mark, after) = rest[zero + 1..].split_first()?;
        rest = after;
        if *mark == 1 {
            return Some((*tag == 1, rest));
        }
        user.push(0);
    }
}

/// What is kept of a user at a mint.
#[derive(Debug)]
pub(super) struct Entry {
    hash: u64,
    /// The user's name, when there is one, and the mint.
    names: Box<[u8]>,
    user_bytes: Option<usize>,
    pub(super) position: Position,
    is_npub_malformed: Option<bool>,
    /// The wallet of the last token of theirs, and what came of it.
    wallet: Option<([u8; 12], WalletCheck)>,
}

/// Positions that are handed over under one lock.
const FLUSHED_AT_ONCE: usize = 1024;

/// Memory that an entry takes, about, besides its key.
const ENTRY_BYTES: usize = size_of::<Entry>() + 32;

impl Entry {
    fn user(&self) -> Option<&[u8]> {
        Some(&self.names[..self.user_bytes?])
    }

    fn mint(&self) -> &[u8] {
        &self.names[self.user_bytes.unwrap_or(0)..]
    }

    /// Whether the name of the user, which is `token`'s, is malformed.
    pub(super) fn is_npub_malformed(&mut self, token: &Token<'_>) -> bool {
        *self.is_npub_malformed.get_or_insert_with(|| is_npub_malformed(token.user()))
    }

    /// What the fields of `token`, which is the user's at the mint, say of its wallet. Nearly all tokens of
    /// an entry are in one wallet, so the last answer is kept.
    pub(super) fn check_wallet(
        &mut self,
        wallets: &WalletTable,
        prints: &Fingerprints,
        token: &Token<'_>,
    ) -> WalletCheck {
        let check = || wallets.check(prints, token.wallet_id, token.npub, token.mint_url);
        let is_text = |value: Option<Value<'_>>| value.and_then(Value::as_text_bytes).is_some();
        let id = token.wallet_id.filter(|id| id.kind == ValueKind::ObjectId);
        let Some(id) = id.and_then(|id| id.bytes.first_chunk()) else { return check() };
        if !is_text(token.npub) || !is_text(token.mint_url) {
            return check();
        }
        match &self.wallet {
            Some((known, answer)) if known == id => *answer,
            _ => self.wallet.insert((*id, check())).1,
        }
    }
}

/// Hashes of who holds a document: of the user, and of the user at the mint.
#[derive(Debug, Clone, Copy)]
pub(super) struct HolderHashes {
    pub(super) user: u64,
    pub(super) position: u64,
}

/// One worker's positions. When they outgrow their share of memory they are flushed and begun anew.
#[derive(Debug)]
pub(super) struct PositionMap<'a> {
    sorter: &'a Mutex<Sorter>,
    prints: &'a Fingerprints,
    memory_bytes_max: usize,
    memory_bytes: usize,
    table: HashTable<Entry>,
}

impl<'a> PositionMap<'a> {
    pub(super) fn new(
        sorter: &'a Mutex<Sorter>,
        prints: &'a Fingerprints,
        memory_bytes_max: usize,
    ) -> PositionMap<'a> {
        PositionMap { sorter, prints, memory_bytes_max, memory_bytes: 0, table: HashTable::new() }
    }

    /// The hashes of a user at a mint.
    #[inline]
    pub(super) fn hash(&self, user: Option<&[u8]>, mint: &[u8]) -> HolderHashes {
        let user = user.map_or(0, |user| self.prints.narrow(user));
        HolderHashes { user, position: user ^ self.prints.narrow(mint).rotate_left(1) }
    }

    /// Brings the entry with `hash` near, so that looking many up one after another does not wait for
    /// memory each time.
    #[inline]
    pub(super) fn touch(&self, hash: u64) -> Option<u8> {
        self.table.find(hash, |e| e.hash == hash)?.names.first().copied()
    }

    /// The entry of a user at a mint, whose hash is `hash`.
    pub(super) fn of(
        &mut self,
        hash: u64,
        user: Option<&[u8]>,
        mint: &[u8],
    ) -> Result<&mut Entry, AnalyzeError> {
        if self.memory_bytes > self.memory_bytes_max {
            self.flush()?;
        }
        let is_it = |e: &Entry| e.hash == hash && e.user() == user && e.mint() == mint;
        Ok(match self.table.entry(hash, is_it, |e| e.hash) {
            hashbrown::hash_table::Entry::Occupied(entry) => entry.into_mut(),
            hashbrown::hash_table::Entry::Vacant(entry) => {
                let fresh = Entry {
                    hash,
                    names: [user.unwrap_or_default(), mint].concat().into(),
                    user_bytes: user.map(<[u8]>::len),
                    position: Position::default(),
                    is_npub_malformed: None,
                    wallet: None,
                };
                self.memory_bytes += ENTRY_BYTES + fresh.names.len();
                entry.insert(fresh).into_mut()
            }
        })
    }

    /// Notes that documents of a user at a mint have findings.
    pub(super) fn mark(
        &mut self,
        user: Option<&[u8]>,
        mint: &[u8],
        found: Mask,
    ) -> Result<(), AnalyzeError> {
        let hash = self.hash(user, mint).position;
        self.of(hash, user, mint)?.position.mask.add(found);
        Ok(())
    }

    /// Hands all positions to the sorter.
    pub(super) fn flush(&mut self) -> Result<(), AnalyzeError> {
        let (mut batch, mut key) = (RowBatch::default(), Vec::new());
        let mut entries = self.table.drain().peekable();
        while entries.peek().is_some() {
            for entry in entries.by_ref().take(FLUSHED_AT_ONCE) {
                position_key(entry.user(), entry.mint(), &mut key);
                batch.push(&key, |payload| entry.position.encode(payload));
            }
            self.sorter.lock().unwrap_or_else(PoisonError::into_inner).append(&batch)?;
            batch.clear();
        }
        self.memory_bytes = 0;
        Ok(())
    }
}

/// Where a position belongs and what it adds up to.
pub(super) struct SummedPosition<'a> {
    /// Its sort key.
    pub(super) key: &'a [u8],
    pub(super) user: Option<&'a [u8]>,
    pub(super) mint: &'a [u8],
    pub(super) position: Position,
}

/// The positions of all workers, added up, in the order of users and mints.
pub(super) struct SummedPositions {
    sorted: SortedRows,
    /// The row to be read next, and whether there is one.
    next: Row,
    has_next: bool,
    key: Vec<u8>,
    user: Vec<u8>,
}

impl SummedPositions {
    pub(super) fn new(mut sorted: SortedRows) -> Result<SummedPositions, ScratchError> {
        let mut next = Row::default();
        let has_next = sorted.next_into(&mut next)?;
        Ok(SummedPositions { sorted, next, has_next, key: Vec::new(), user: Vec::new() })
    }

    /// Begins anew.
    pub(super) fn rewind(&mut self) -> Result<(), ScratchError> {
        self.sorted.rewind()?;
        self.has_next = self.sorted.next_into(&mut self.next)?;
        Ok(())
    }

    pub(super) fn next(&mut self) -> Result<Option<SummedPosition<'_>>, ScratchError> {
        if !self.has_next {
            return Ok(None);
        }
        std::mem::swap(&mut self.key, &mut self.next.key);
        let mut sum = Position::default();
        loop {
            sum.add(&Position::decode(&self.next.payload).ok_or(ScratchError::Damaged)?);
            self.has_next = self.sorted.next_into(&mut self.next)?;
            if !self.has_next || self.next.key != self.key {
                break;
            }
        }
        let (has_user, mint) =
            split_position_key(&self.key, &mut self.user).ok_or(ScratchError::Damaged)?;
        let user = has_user.then_some(&*self.user);
        Ok(Some(SummedPosition { key: &self.key, user, mint, position: sum }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back_and_sort_by_user_then_mint() {
        let names: [Option<&[u8]>; 6] =
            [None, Some(b""), Some(b"a"), Some(b"a\0"), Some(b"a\0\x01"), Some(b"ab")];
        let mut keys = Vec::new();
        for user in names {
            for mint in [&b""[..], b"m", b"\0\x01z"] {
                let mut key = Vec::new();
                position_key(user, mint, &mut key);
                let mut name = Vec::new();
                let (has_user, read_mint) = split_position_key(&key, &mut name).unwrap();
                assert_eq!((has_user.then_some(&*name), read_mint), (user, mint));
                keys.push((key, user));
            }
        }
        let mut sorted = keys.clone();
        sorted.sort();
        let users = |keys: &[(Vec<u8>, Option<&[u8]>)]| -> Vec<Option<Vec<u8>>> {
            keys.iter().map(|(_, user)| user.map(<[u8]>::to_vec)).collect()
        };
        assert_eq!(users(&sorted), users(&keys));
    }

    #[test]
    fn a_position_is_read_back() {
        let position = Position {
            sums: [1, -2, i128::MAX, i128::MIN],
            tokens_fixed: 7,
            amount_fixed: -9,
            mask: Mask(5),
        };
        let mut bytes = Vec::new();
        position.encode(&mut bytes);
        assert_eq!(Position::decode(&bytes), Some(position));
    }
}
