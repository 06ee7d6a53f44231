//! Records that share their fingerprint, group by group.
//!
//! A part that fits its share of the memory is sorted there; a larger one, such as one value with very many copies
//! makes, in scratch files. Both hand on the same records with the same verdicts; the order of the groups is not
//! defined.

use super::AnalyzeError;
use crate::scratch::{Partitions, Row, ScratchError, SortedRows, Sorter, TakenPart};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is gathered from the records of one group, in their order.
pub(super) trait Gather<const N: usize>: Default {
    /// What comes of it.
    type Verdict;
    /// A record begins with so many bytes of its fingerprint: at least [`SLOT_END`].
    const PRINT_BYTES: usize;
    /// Whether nothing ever comes of a single record.
    const TWINS_ONLY: bool;

    fn add(&mut self, record: &[u8; N]);

    /// `None` when the group is of no interest.
    fn verdict(&self) -> Option<Self::Verdict>;

    /// Sorts records by their bytes.
    fn sort(records: &mut [[u8; N]]) {
        records.sort_unstable();
    }
}

/// Records of a group that are kept in memory until its verdict is known. Those of a larger one are read twice.
const GROUP_MAX: usize = 4096;

/// Where and how groups are found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grouping<'a> {
    pub(super) pool: &'a rayon::ThreadPool,
    pub(super) scratch: &'a Path,
    /// A larger part is sorted in scratch files, with about as much memory.
    pub(super) part_bytes_max: usize,
}

impl Grouping<'_> {
    /// Gives `each` the records of all groups in `store` that have a verdict, those of one group in order; on all
    /// threads, each with a state that `begin` makes. Gives the states.
    pub(super) fn each<const N: usize, G: Gather<N>, S: Send>(
        &self,
        store: &Partitions,
        begin: impl Fn() -> S + Sync,
        each: impl Fn(&mut S, usize, &G::Verdict, &[u8; N]) -> Result<(), AnalyzeError> + Sync,
    ) -> Result<Vec<S>, AnalyzeError> {
        let next = AtomicUsize::new(0);
        let results = self.pool.broadcast(|_| {
            let mut state = begin();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= store.parts() {
                    return Ok(state);
                }
                let part = store.take_part(number)?;
                self.judge::<N, G>(part, |verdict, record| {
                    each(&mut state, number, verdict, record)
                })?;
            }
        });
        results.into_iter().collect()
    }

    fn judge<const N: usize, G: Gather<N>>(
        &self,
        part: TakenPart,
        each: impl FnMut(&G::Verdict, &[u8; N]) -> Result<(), AnalyzeError>,
    ) -> Result<(), AnalyzeError> {
        if part.bytes() > self.part_bytes_max {
            judge_sorted::<N, G>(self.sort::<N, G>(&part)?, GROUP_MAX, each)
        } else {
            judge_in_memory::<N, G>(&part.load()?, each)
        }
    }

    /// The records of a part that may matter, sorted in scratch files.
    fn sort<const N: usize, G: Gather<N>>(
        &self,
        part: &TakenPart,
    ) -> Result<SortedRows, AnalyzeError> {
        let mut twins = Twins::new(part.bytes() / N, self.part_bytes_max);
        if G::TWINS_ONLY {
            part.each_block(|block| {
                twins.note::<N>(block);
                Ok::<(), ScratchError>(())
            })?;
        }
        let mut sorter = Sorter::new(self.scratch, self.part_bytes_max);
        part.each_block(|block| {
            let matters = |record: &&[u8; N]| !G::TWINS_ONLY || twins.may_have(record);
            let mut records = block.as_chunks::<N>().0.iter().filter(matters);
            records.try_for_each(|record| sorter.push(record, &[]))
        })?;
        Ok(sorter.finish()?)
    }
}

/// The bytes of a record that choose its place among the [`Twins`]: 32 bits.
const SLOT_START: usize = 3;
const SLOT_END: usize = 7;

/// Which fingerprints were seen, and which twice, about: tells of most records that they have no twin, so that those,
/// usually nearly all, need not be sorted.
struct Twins(Vec<Seen>);

/// A bit each for 64 places: whether one was seen, and whether twice.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    once: u64,
    twice: u64,
}

impl Twins {
    /// Places for each record: of those without a twin about one in so many is kept needlessly.
    const PLACES_EACH: usize = 16;

    /// For so many records, in about `bytes_max` at most.
    fn new(records: usize, bytes_max: usize) -> Twins {
        let words = records.saturating_mul(Twins::PLACES_EACH) / 64;
        let words = words.min(bytes_max / size_of::<Seen>()).clamp(1, 1 << 26);
        Twins(vec![Seen::default(); words.next_power_of_two()])
    }

    /// Where in the table, and which bit.
    fn place<const N: usize>(&self, record: &[u8; N]) -> (usize, u64) {
        let chosen = record[SLOT_START..SLOT_END].first_chunk();
        let chosen = chosen.map_or(0, |bytes| u32::from_be_bytes(*bytes));
        ((chosen >> 6) as usize & (self.0.len() - 1), 1 << (chosen & 63))
    }

    fn note<const N: usize>(&mut self, block: &[u8]) {
        for record in block.as_chunks::<N>().0 {
            let (word, bit) = self.place(record);
            let seen = &mut self.0[word];
            seen.twice |= seen.once & bit;
            seen.once |= bit;
        }
    }

    fn may_have<const N: usize>(&self, record: &[u8; N]) -> bool {
        let (word, bit) = self.place(record);
        self.0[word].twice & bit != 0
    }
}

/// The records in `blocks` that may have a twin.
fn possible_twins<const N: usize>(blocks: &[Vec<u8>]) -> Vec<[u8; N]> {
    let count = blocks.iter().map(|block| block.len() / N).sum();
    let mut twins = Twins::new(count, usize::MAX / 2);
    blocks.iter().for_each(|block| twins.note::<N>(block));
    let records = blocks.iter().flat_map(|block| block.as_chunks::<N>().0);
    records.filter(|record| twins.may_have(record)).copied().collect()
}

fn are_of_one_group<const N: usize, G: Gather<N>>(a: &[u8; N], b: &[u8; N]) -> bool {
    a[..G::PRINT_BYTES] == b[..G::PRINT_BYTES]
}

fn judge_in_memory<const N: usize, G: Gather<N>>(
    blocks: &[Vec<u8>],
    mut each: impl FnMut(&G::Verdict, &[u8; N]) -> Result<(), AnalyzeError>,
) -> Result<(), AnalyzeError> {
    let mut records = match G::TWINS_ONLY {
        true => possible_twins(blocks),
        false => blocks.iter().flat_map(|block| block.as_chunks().0).copied().collect(),
    };
    G::sort(&mut records);
    for group in records.chunk_by(are_of_one_group::<N, G>) {
        let mut gathered = G::default();
        group.iter().for_each(|record| gathered.add(record));
        if let Some(verdict) = gathered.verdict() {
            group.iter().try_for_each(|record| each(&verdict, record))?;
        }
    }
    Ok(())
}

/// The group that is being read, with as many of its first records as are kept.
struct Open<const N: usize, G> {
    gathered: G,
    kept: Vec<[u8; N]>,
    is_larger: bool,
}

impl<const N: usize, G: Gather<N>> Open<N, G> {
    fn has(&self, record: &[u8; N]) -> bool {
        self.kept.first().is_some_and(|first| are_of_one_group::<N, G>(first, record))
    }

    fn add(&mut self, record: &[u8; N], group_max: usize) {
        self.gathered.add(record);
        match self.kept.len() < group_max {
            true => self.kept.push(*record),
            false => self.is_larger = true,
        }
    }

    /// Ends the group and begins another. Of one that is larger than what was kept, the verdict goes to `large`.
    fn end(
        &mut self,
        large: &mut VecDeque<([u8; N], G::Verdict)>,
        each: &mut impl FnMut(&G::Verdict, &[u8; N]) -> Result<(), AnalyzeError>,
    ) -> Result<(), AnalyzeError> {
        let is_larger = std::mem::take(&mut self.is_larger);
        if let Some(verdict) = std::mem::take(&mut self.gathered).verdict() {
            match self.kept.first() {
                Some(first) if is_larger => large.push_back((*first, verdict)),
                _ => self.kept.iter().try_for_each(|record| each(&verdict, record))?,
            }
        }
        self.kept.clear();
        Ok(())
    }
}

fn judge_sorted<const N: usize, G: Gather<N>>(
    mut sorted: SortedRows,
    group_max: usize,
    mut each: impl FnMut(&G::Verdict, &[u8; N]) -> Result<(), AnalyzeError>,
) -> Result<(), AnalyzeError> {
    let mut open = Open::<N, G> { gathered: G::default(), kept: Vec::new(), is_larger: false };
    let (mut large, mut row) = (VecDeque::new(), Row::default());
    while sorted.next_into(&mut row)? {
        let record = record_of(&row)?;
        if !open.has(record) {
            open.end(&mut large, &mut each)?;
        }
        open.add(record, group_max);
    }
    open.end(&mut large, &mut each)?;
    if large.is_empty() {
        return Ok(());
    }
    sorted.rewind()?;
    while sorted.next_into(&mut row)? {
        let record = record_of(&row)?;
        let is_before = |(first, _): &mut ([u8; N], _)| {
            *first < *record && !are_of_one_group::<N, G>(first, record)
        };
        while large.pop_front_if(is_before).is_some() {}
        match large.front() {
            Some((first, verdict)) if are_of_one_group::<N, G>(first, record) => {
                each(verdict, record)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn record_of<const N: usize>(row: &Row) -> Result<&[u8; N], ScratchError> {
    row.key.as_array().ok_or(ScratchError::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fmt::Debug;

    proptest! {
        #[test]
        fn no_twin_is_left_out(prints in proptest::collection::vec(0_u8..200, 0..300), cut: usize) {
            let record = |(ordinal, print): (usize, &u8)| -> [u8; 12] {
                let [o0, o1] = u16::try_from(ordinal).unwrap().to_be_bytes();
                [0, 0, 0, *print, 0, 0, *print, 0, 0, 0, o0, o1]
            };
            let records: Vec<_> = prints.iter().enumerate().map(record).collect();
            let twins = |print: u8| prints.iter().filter(|p| **p == print).count() > 1;
            let expected: Vec<_> = records.iter().filter(|r| twins(r[6])).copied().collect();
            let (first, second) = records.split_at(cut % (records.len() + 1));
            let kept: Vec<[u8; 12]> = possible_twins(&[first.concat(), second.concat()]);
            prop_assert!(expected.iter().all(|record| kept.contains(record)));
            prop_assert!(kept.iter().all(|record| records.contains(record)));
        }

        #[test]
        fn sorted_parts_are_judged_like_those_in_memory(
            seeds in proptest::collection::vec((0_u8..9, 0_u8..5, any::<u8>()), 0..300),
            memory_bytes_max in 1_usize..2000,
            group_max in 1_usize..40,
        ) {
            let bounds = (memory_bytes_max, group_max);
            are_judged_alike::<12, super::super::duplicates::Copies>(&seeds, bounds);
            are_judged_alike::<16, super::super::secrets::Gathered>(&seeds, bounds);
            are_judged_alike::<25, super::super::melts::Joined>(&seeds, bounds);
        }
    }

    /// Makes a record of a fingerprint, a document and what else it says from each of `seeds`.
    fn are_judged_alike<const N: usize, G: Gather<N>>(
        seeds: &[(u8, u8, u8)],
        (memory_bytes_max, group_max): (usize, usize),
    ) where
        G::Verdict: Debug,
    {
        let scratch = tempfile::tempdir().unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let store = Partitions::new(scratch.path(), 1, memory_bytes_max);
        let mut writer = store.writer();
        let mut records = Vec::new();
        for (print, ordinal, says) in seeds {
            let mut record = [0; N];
            record[SLOT_END - 1] = *print;
            // After the fingerprint stand in this order: whether it is a melt, documents, what they say.
            record[G::PRINT_BYTES] = if N == 25 { says & 1 } else { 0 };
            let at = if N == 16 { 11 } else { N - 1 };
            record[at] = *ordinal;
            if N == 16 {
                record[12] = says & 0xc0;
                record[15] = says & 1;
            }
            writer.push(0, &record).unwrap();
            records.push(record);
        }
        writer.finish().unwrap();
        let grouping =
            Grouping { pool: &pool, scratch: scratch.path(), part_bytes_max: memory_bytes_max };
        let sorted = grouping.sort::<N, G>(&store.take_part(0).unwrap()).unwrap();
        let (mut in_memory, mut streamed) = (Vec::new(), Vec::new());
        judge_in_memory::<N, G>(&[records.concat()], |verdict, record| {
            in_memory.push((*record, format!("{verdict:?}")));
            Ok(())
        })
        .unwrap();
        judge_sorted::<N, G>(sorted, group_max, |verdict, record| {
            streamed.push((*record, format!("{verdict:?}")));
            Ok(())
        })
        .unwrap();
        streamed.sort();
        assert_eq!(in_memory, streamed);
    }
}
