//! Sums by a key from the reports, such as a user's cell, in memory that no report makes larger.

use crate::scratch::{Row, ScratchError, Sorter};
use std::collections::HashMap;

/// Groups that are added up before they go to the sorter, and the bytes of their keys.
const GROUPS_IN_MEMORY_MAX: usize = 8_192;
const KEY_BYTES_MAX: usize = 4 * 1024 * 1024;
const SORTER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// `N` sums by a key.
#[derive(Debug)]
pub(super) struct Groups<const N: usize> {
    sums: HashMap<Vec<u8>, [i128; N]>,
    key_bytes: usize,
    sorter: Sorter,
}

impl<const N: usize> Groups<N> {
    pub(super) fn new() -> Groups<N> {
        let sorter = Sorter::new(&std::env::temp_dir(), SORTER_BYTES_MAX);
        Groups { sums: HashMap::new(), key_bytes: 0, sorter }
    }

    pub(super) fn add(&mut self, key: &[u8], more: [i128; N]) -> Result<(), ScratchError> {
        if let Some(sums) = self.sums.get_mut(key) {
            add_all(sums, more);
            return Ok(());
        }
        if self.sums.len() >= GROUPS_IN_MEMORY_MAX || self.key_bytes + key.len() > KEY_BYTES_MAX {
            self.flush()?;
        }
        self.key_bytes += key.len();
        self.sums.insert(key.to_vec(), more);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ScratchError> {
        self.key_bytes = 0;
        self.sums.drain().try_for_each(|(key, sums)| {
            let row: Vec<u8> = sums.into_iter().flat_map(i128::to_le_bytes).collect();
            self.sorter.push(&key, &row)
        })
    }

    /// Gives `each` every group once, in the order of the keys.
    pub(super) fn each(
        mut self,
        mut each: impl FnMut(&[u8], [i128; N]),
    ) -> Result<(), ScratchError> {
        self.flush()?;
        let mut sorted = self.sorter.finish()?;
        let mut row = Row::default();
        let mut more = sorted.next_into(&mut row)?;
        while more {
            let key = std::mem::take(&mut row.key);
            let mut sums = [0; N];
            loop {
                add_all(&mut sums, decode(&row.payload)?);
                more = sorted.next_into(&mut row)?;
                if !more || row.key != key {
                    break;
                }
            }
            each(&key, sums);
        }
        Ok(())
    }
}

fn add_all<const N: usize>(sums: &mut [i128; N], more: [i128; N]) {
    sums.iter_mut().zip(more).for_each(|(sum, more)| *sum = sum.saturating_add(more));
}

fn decode<const N: usize>(row: &[u8]) -> Result<[i128; N], ScratchError> {
    let (numbers, _) = row.as_chunks::<16>();
    let numbers: Vec<i128> = numbers.iter().map(|bytes| i128::from_le_bytes(*bytes)).collect();
    numbers.try_into().map_err(|_| ScratchError::Damaged)
}

/// The groups of greatest weight that were offered, of equal ones those that came first.
#[derive(Debug)]
pub(super) struct Heaviest<G> {
    groups: Vec<(i128, G)>,
    most: usize,
}

impl<G> Heaviest<G> {
    /// Keeps `most` groups.
    pub(super) fn new(most: usize) -> Heaviest<G> {
        Heaviest { groups: Vec::new(), most }
    }

    /// Whether a group of this weight would be kept.
    pub(super) fn wants(&self, weight: i128) -> bool {
        self.groups.len() < self.most
            || self.groups.last().is_some_and(|(least, _)| weight > *least)
    }

    /// Takes a group; gives the one that has no room any more.
    pub(super) fn offer(&mut self, weight: i128, group: G) -> Option<G> {
        let at = self.groups.partition_point(|(other, _)| *other >= weight);
        self.groups.insert(at, (weight, group));
        if self.groups.len() > self.most { self.groups.pop().map(|(_, group)| group) } else { None }
    }

    /// Heaviest first.
    pub(super) fn into_groups(self) -> impl Iterator<Item = G> {
        self.groups.into_iter().map(|(_, group)| group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_beyond_what_memory_holds_are_the_same_groups() {
        let mut groups = Groups::new();
        let keys = 3 * GROUPS_IN_MEMORY_MAX as u64;
        for key in (0..keys).chain(0..keys).chain([7, 7]) {
            groups.add(&key.to_be_bytes(), [1, i128::from(key)]).unwrap();
        }
        let mut next = 0_u64;
        groups
            .each(|key, [count, sum]| {
                assert_eq!(key, next.to_be_bytes());
                assert_eq!(count, if next == 7 { 4 } else { 2 });
                assert_eq!(sum, count * i128::from(next));
                next += 1;
            })
            .unwrap();
        assert_eq!(next, keys);
    }

    #[test]
    fn keys_in_memory_are_bounded_by_their_bytes_too() {
        let mut groups = Groups::new();
        for key in 0..10_u8 {
            groups.add(&vec![key; KEY_BYTES_MAX / 3], [1]).unwrap();
            assert!(groups.sums.keys().map(Vec::len).sum::<usize>() <= KEY_BYTES_MAX);
        }
        groups.add(&vec![0; KEY_BYTES_MAX + 1], [1]).unwrap();
        assert_eq!(groups.sums.len(), 1, "one that is larger stands alone");
        let mut count = 0;
        groups.each(|_, [sum]| count += sum).unwrap();
        assert_eq!(count, 11);
    }

    #[test]
    fn the_heaviest_are_kept_and_of_equal_ones_the_first() {
        let mut heaviest = Heaviest::new(2);
        assert_eq!(heaviest.offer(5, "a"), None);
        assert_eq!(heaviest.offer(5, "b"), None);
        assert!(heaviest.wants(6) && !heaviest.wants(5));
        assert_eq!(heaviest.offer(5, "c"), Some("c"));
        assert_eq!(heaviest.offer(9, "d"), Some("b"));
        assert_eq!(heaviest.into_groups().collect::<Vec<_>>(), ["d", "a"]);
        assert!(!Heaviest::<()>::new(0).wants(1));
    }
}
