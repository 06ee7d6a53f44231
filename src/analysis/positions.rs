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
    names: Names,
    pub(super) position: Position,
    is_npub_malformed: Option<bool>,
    /// The wallet of the last token of theirs, and what came of it.
    wallet: Option<([u8; 12], WalletCheck)>,
}

/// Where the names of a user, when there is one, and of a mint lie, one after the other.
#[derive(Debug, Clone, Copy)]
struct Names {
    start: usize,
    user_bytes: Option<u32>,
    mint_bytes: u32,
}

impl Names {
    /// Appends names of a document, which is below 17 MiB, to `text`.
    fn append(text: &mut Vec<u8>, user: Option<&[u8]>, mint: &[u8]) -> Names {
        let bytes = |name: &[u8]| u32::try_from(name.len()).unwrap_or(u32::MAX);
        let start = text.len();
        text.extend_from_slice(user.unwrap_or_default());
        text.extend_from_slice(mint);
        Names { start, user_bytes: user.map(bytes), mint_bytes: bytes(mint) }
    }

    /// The user and the mint.
    fn of(self, text: &[u8]) -> (Option<&[u8]>, &[u8]) {
        let from = &text[self.start..];
        let (user, rest) = from.split_at(self.user_bytes.unwrap_or(0) as usize);
        (self.user_bytes.map(|_| user), &rest[..self.mint_bytes as usize])
    }
}

impl Entry {
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

/// Who holds a document: a user at a mint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holder {
    pub(super) user_hash: u64,
    hash: u64,
    /// Of the entry when it was looked for. There may have been none, or another is there by now.
    index: usize,
}

/// A place in the table: of an entry's hash the lower half, and its index.
#[derive(Debug, Clone, Copy)]
struct Slot {
    tag: u32,
    index: u32,
}

fn tag_of(hash: u64) -> u32 {
    let [.., a, b, c, d] = hash.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// Entries in the order in which they came. They stay where they are, so that growing copies nothing.
#[derive(Debug, Default)]
struct Entries {
    blocks: Vec<Block>,
    names_bytes: usize,
}

/// Up to [`BLOCK_ENTRIES`] entries, and their names.
#[derive(Debug)]
struct Block {
    entries: Vec<Entry>,
    names: Vec<u8>,
}

/// Entries of a block; all are handed over under one lock.
const BLOCK_ENTRIES: usize = 1024;
/// Most room that is made for names to come.
const NAMES_EXPECTED_MAX: usize = 256 * BLOCK_ENTRIES;

impl Entries {
    fn len(&self) -> usize {
        let last = self.blocks.last().map_or(0, |block| block.entries.len());
        self.blocks.len().saturating_sub(1) * BLOCK_ENTRIES + last
    }

    /// With the names of its block.
    fn get(&self, index: usize) -> Option<(&Entry, &[u8])> {
        let block = self.blocks.get(index / BLOCK_ENTRIES)?;
        Some((block.entries.get(index % BLOCK_ENTRIES)?, &block.names))
    }

    /// Adds an entry without a token, and gives its index.
    fn add(&mut self, hash: u64, user: Option<&[u8]>, mint: &[u8]) -> usize {
        let index = self.len();
        if index.is_multiple_of(BLOCK_ENTRIES) {
            // Names are about as long as those before.
            let expected = self.blocks.last().map_or(0, |block| block.names.len() * 9 / 8);
            let names = Vec::with_capacity(expected.min(NAMES_EXPECTED_MAX));
            self.blocks.push(Block { entries: Vec::with_capacity(BLOCK_ENTRIES), names });
        }
        if let Some(block) = self.blocks.last_mut() {
            let names = Names::append(&mut block.names, user, mint);
            let position = Position::default();
            block.entries.push(Entry {
                hash,
                names,
                position,
                is_npub_malformed: None,
                wallet: None,
            });
            self.names_bytes += block.names.len() - names.start;
        }
        index
    }

    fn memory_bytes(&self) -> usize {
        self.len() * (size_of::<Entry>() + size_of::<Slot>() + 1) + self.names_bytes
    }
}

/// One worker's positions. When they outgrow their share of memory they are flushed and begun anew.
#[derive(Debug)]
pub(super) struct PositionMap<'a> {
    sorter: &'a Mutex<Sorter>,
    prints: &'a Fingerprints,
    memory_bytes_max: usize,
    /// Apart from the entries, so that it mostly stays in the cache.
    table: HashTable<Slot>,
    entries: Entries,
}

impl<'a> PositionMap<'a> {
    pub(super) fn new(
        sorter: &'a Mutex<Sorter>,
        prints: &'a Fingerprints,
        memory_bytes_max: usize,
    ) -> PositionMap<'a> {
        let (table, entries) = (HashTable::new(), Entries::default());
        PositionMap { sorter, prints, memory_bytes_max, table, entries }
    }

    /// Whoever holds a document, to be looked for.
    #[inline]
    pub(super) fn holder(&self, user: Option<&[u8]>, mint: &[u8]) -> Holder {
        let user_hash = user.map_or(0, |user| self.prints.narrow(user));
        let hash = user_hash ^ self.prints.narrow(mint).rotate_left(1);
        Holder { user_hash, hash, index: usize::MAX }
    }

    /// Looks for the entry of `holder` and brings it near, so that many in turn do not each wait for memory.
    #[inline]
    pub(super) fn seek(&self, holder: &mut Holder) {
        let is_likely = |slot: &Slot| slot.tag == tag_of(holder.hash);
        if let Some(slot) = self.table.find(holder.hash, is_likely) {
            holder.index = slot.index as usize;
            let entry = self.entries.get(holder.index);
            std::hint::black_box(entry.and_then(|(entry, names)| names.get(entry.names.start)));
        }
    }

    /// The entry of `holder`, who is a user at a mint.
    pub(super) fn of(
        &mut self,
        holder: Holder,
        user: Option<&[u8]>,
        mint: &[u8],
    ) -> Result<&mut Entry, AnalyzeError> {
        let index = match self.is_of(holder.index, holder.hash, user, mint) {
            true => holder.index,
            false => self.find_or_add(holder.hash, user, mint)?,
        };
        let block = &mut self.entries.blocks[index / BLOCK_ENTRIES];
        Ok(&mut block.entries[index % BLOCK_ENTRIES])
    }

    fn is_of(&self, index: usize, hash: u64, user: Option<&[u8]>, mint: &[u8]) -> bool {
        let entry = self.entries.get(index).filter(|(entry, _)| entry.hash == hash);
        entry.is_some_and(|(entry, names)| entry.names.of(names) == (user, mint))
    }

    fn find_or_add(
        &mut self,
        hash: u64,
        user: Option<&[u8]>,
        mint: &[u8],
    ) -> Result<usize, AnalyzeError> {
        let is_it = |slot: &Slot| {
            slot.tag == tag_of(hash) && self.is_of(slot.index as usize, hash, user, mint)
        };
        if let Some(slot) = self.table.find(hash, is_it) {
            return Ok(slot.index as usize);
        }
        let is_full = u32::try_from(self.entries.len()).is_err();
        if is_full || self.entries.memory_bytes() > self.memory_bytes_max {
            self.flush()?;
        }
        let PositionMap { table, entries, .. } = self;
        let index = entries.add(hash, user, mint);
        let slot = Slot { tag: tag_of(hash), index: u32::try_from(index).unwrap_or(u32::MAX) };
        let hash_of = |slot: &Slot| entries.get(slot.index as usize).map_or(0, |(it, _)| it.hash);
        table.insert_unique(hash, slot, hash_of);
        Ok(index)
    }

    /// Notes that documents of a user at a mint have findings.
    pub(super) fn mark(
        &mut self,
        user: Option<&[u8]>,
        mint: &[u8],
        found: Mask,
    ) -> Result<(), AnalyzeError> {
        let holder = self.holder(user, mint);
        self.of(holder, user, mint)?.position.mask.add(found);
        Ok(())
    }

    /// Adds another worker's positions to these.
    pub(super) fn merge(mut self, other: PositionMap<'_>) -> Result<Self, AnalyzeError> {
        for Block { entries, names } in other.entries.blocks {
            for entry in entries {
                let (user, mint) = entry.names.of(&names);
                let holder = Holder { user_hash: 0, hash: entry.hash, index: usize::MAX };
                self.of(holder, user, mint)?.position.add(&entry.position);
            }
        }
        Ok(self)
    }

    /// Hands all positions to the sorter.
    pub(super) fn flush(&mut self) -> Result<(), AnalyzeError> {
        let (mut batch, mut key) = (RowBatch::default(), Vec::new());
        self.table.clear();
        for Block { entries, names } in std::mem::take(&mut self.entries).blocks {
            for entry in entries {
                let (user, mint) = entry.names.of(&names);
                position_key(user, mint, &mut key);
                batch.push(&key, |payload| entry.position.encode(payload));
            }
            self.sorter.lock().unwrap_or_else(PoisonError::into_inner).append(&batch)?;
            batch.clear();
        }
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
    use crate::analysis::FingerprintKey;
    use std::collections::BTreeMap;

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

    /// The users at mints in `positions`, each with the sum of what is unspent.
    fn sums(positions: Mutex<Sorter>) -> Vec<(String, String, i128)> {
        let sorted = positions.into_inner().unwrap().finish().unwrap();
        let (mut summed, mut sums) = (SummedPositions::new(sorted).unwrap(), Vec::new());
        let text = |name: &[u8]| String::from_utf8(name.to_vec()).unwrap();
        while let Some(SummedPosition { user, mint, position, .. }) = summed.next().unwrap() {
            sums.push((text(user.unwrap()), text(mint), position.sum(Status::Unspent)));
        }
        sums
    }

    #[test]
    fn workers_positions_add_up_whatever_their_memory() {
        let scratch = tempfile::tempdir().unwrap();
        // Under the second key many users share a hash.
        for key in [FingerprintKey([7; 16]), FingerprintKey::COLLIDING] {
            let prints = Fingerprints::new(key);
            for memory_bytes_max in [0, 20_000, usize::MAX] {
                let sorter = Mutex::new(Sorter::new(scratch.path(), usize::MAX));
                let map = || PositionMap::new(&sorter, &prints, memory_bytes_max);
                let mut maps = [map(), map()];
                let mut expected = BTreeMap::new();
                for number in 0_usize..9_000 {
                    let (user, mint) = (format!("user {}", number % 3_001), ["a", "b"][number % 2]);
                    let positions = &mut maps[number / 4_500];
                    let names = (Some(user.as_bytes()), mint.as_bytes());
                    let mut holder = positions.holder(names.0, names.1);
                    positions.seek(&mut holder);
                    let entry = positions.of(holder, names.0, names.1).unwrap();
                    entry.position.sums[Status::Unspent as usize] += 1;
                    *expected.entry((user, mint.to_owned())).or_insert(0) += 1;
                }
                let [first, second] = maps;
                first.merge(second).unwrap().flush().unwrap();
                let sums = sums(sorter);
                let expected = expected.into_iter().map(|((user, mint), sum)| (user, mint, sum));
                assert_eq!(sums, Vec::from_iter(expected));
            }
        }
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
