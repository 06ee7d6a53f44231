//! The generator's only source of chance.
//!
//! `rand_pcg` because PCG-XSL-RR 128/64 is a published algorithm with reference vectors that the crate
//! tests against, so its stream is the same in every version. Only its 64-bit words are used: the
//! reductions to a range stand here, as those of `rand` may change between its versions.

use rand_pcg::{Pcg64, rand_core::Rng as _};

/// The stream that every ledger draws from; the seed is the state within it.
const STREAM: u128 = 0x7265_6d65_6c74_2d6c_6564_6765_722d_3031;

/// A stream of numbers that a seed decides.
pub(super) struct Random(Pcg64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(Pcg64::new(u128::from(seed), STREAM))
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.0.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// A position in something that is `length` long.
    pub(super) fn index(&mut self, length: usize) -> usize {
        let bound = u64::try_from(length).unwrap_or(u64::MAX);
        usize::try_from(self.below(bound)).unwrap_or(0)
    }

    /// A position in something `length` long, the first ones far likelier: a few very active, a long tail.
    pub(super) fn skewed_index(&mut self, length: usize) -> usize {
        let limit = self.index(length) + 1;
        self.index(limit)
    }

    /// One of `choices`, which must not be empty.
    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }

    /// True in `percent` of a hundred cases.
    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Bytes at random.
    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PCG-XSL-RR 128/64 by its reference code, apart from any crate.
    fn reference(state: u128, stream: u128) -> impl FnMut() -> u64 {
        const MULTIPLIER: u128 = 0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645;
        let increment = (stream << 1) | 1;
        let step = move |state: u128| state.wrapping_mul(MULTIPLIER).wrapping_add(increment);
        let mut state = step(state.wrapping_add(increment));
        move || {
            state = step(state);
            let folded = (state >> 64) ^ (state & u128::from(u64::MAX));
            let rotation = u32::try_from(state >> 122).unwrap();
            u64::try_from(folded).unwrap().rotate_right(rotation)
        }
    }

    #[test]
    fn the_stream_is_the_published_one() {
        let mut random = Random::new(42);
        let mut expected = reference(42, STREAM);
        for _ in 0..100 {
            assert_eq!(u64::from_le_bytes(random.bytes()), expected());
        }
    }

    #[test]
    fn numbers_stay_in_their_range() {
        let mut random = Random::new(1);
        for bound in 1..200 {
            assert!(random.below(bound) < bound);
            assert!((bound..=2 * bound).contains(&random.between(bound, 2 * bound)));
            assert!(random.skewed_index(7) < 7);
        }
        assert_eq!(random.below(0), 0);
    }
}
