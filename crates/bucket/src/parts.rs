//! How large the parts of a large object are.

use storage::BUFFER_BYTES;

/// Services refuse smaller parts, but for the last one.
pub(crate) const MIN_PART: usize = 5 << 20;
/// The same in buffers.
pub(crate) const MIN_UNITS: usize = MIN_PART / BUFFER_BYTES;
/// What one upload holds at most, in bytes.
pub(crate) const HOLD_MAX: usize = 24 << 20;
/// Parts that a large object has at most.
pub(crate) const PARTS_MAX: usize = 10_000;
/// Parts of an upload under way at once.
const IN_FLIGHT_MAX: usize = 2;

/// Sizes by number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    usual: usize,
    /// From here on the parts are large, so that they suffice.
    large_from: usize,
}

impl Sizes {
    /// `wanted` bytes as far as services and memory allow, in whole buffers; larger when `size` needs it in `parts_max` parts.
    pub(crate) fn new(wanted: u64, size: Option<u64>, parts_max: usize) -> Self {
        let large_from = parts_max * 2 / 5;
        let whole = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX).clamp(MIN_PART, HOLD_MAX) / BUFFER_BYTES;
        let needed = size.unwrap_or(0).div_ceil((large_from as u64 * 2).max(1)).next_multiple_of(BUFFER_BYTES as u64);
        Self { usual: whole(wanted).max(whole(needed)) * BUFFER_BYTES, large_from }
    }

    /// Size of the part with this index.
    pub(crate) fn of(self, index: usize) -> usize {
        if index < self.large_from { self.usual } else { HOLD_MAX }
    }

    /// Memory is short: this part may go before it is full.
    pub(crate) fn may_be_short(self, index: usize) -> bool {
        index < self.large_from
    }

    /// What a part with this index needs until it can be sent, in buffers; `left` bytes are known to come.
    pub(crate) fn reserve(self, index: usize, left: Option<u64>) -> usize {
        let least = if self.may_be_short(index) { MIN_UNITS } else { HOLD_MAX / BUFFER_BYTES };
        let left = left.map_or(least, |left| usize::try_from(left.div_ceil(BUFFER_BYTES as u64)).unwrap_or(least));
        left.clamp(1, least)
    }

    /// How many parts may be under way while the next one is filled.
    pub(crate) fn in_flight(self, index: usize) -> usize {
        (HOLD_MAX / self.of(index) - 1).min(IN_FLIGHT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_buffers_within_bounds() {
        for (wanted, expected) in [(0, 5 << 20), (5 << 20, 5 << 20), (8 << 20, 8 << 20), ((8 << 20) + 7, 8 << 20)] {
            assert_eq!(Sizes::new(wanted, None, PARTS_MAX).of(0), expected);
        }
        assert_eq!(Sizes::new(1 << 40, None, PARTS_MAX).of(0), HOLD_MAX);
        for wanted in [0, 8 << 20, 24 << 20] {
            for size in [None, Some(1), Some(1 << 30), Some(1 << 36), Some(150 << 30)] {
                let sizes = Sizes::new(wanted, size, PARTS_MAX);
                let held = |index: usize| sizes.of(index) * (sizes.in_flight(index) + 1);
                assert!((0..PARTS_MAX).all(|index| held(index) <= HOLD_MAX && sizes.of(index) >= MIN_PART));
                assert!((0..PARTS_MAX).all(|index| sizes.of(index).is_multiple_of(BUFFER_BYTES)));
                let all: u64 = (0..PARTS_MAX).map(|index| sizes.of(index) as u64).sum();
                assert!(all >= size.unwrap_or(150 << 30), "{size:?} does not fit");
            }
        }
        let sizes = Sizes::new(8 << 20, None, PARTS_MAX);
        assert_eq!(
            [None, Some(0), Some(1), Some(3 << 20), Some(1 << 30)].map(|left| sizes.reserve(0, left)),
            [5, 1, 1, 3, 5]
        );
        assert_eq!(sizes.reserve(4_000, None), 24);
        for (size, least) in [(None, 15_u64 << 30), (Some(23 << 30), 23 << 30)] {
            let sizes = Sizes::new(5 << 20, size, 1000);
            let all: u64 = (0..1000).map(|index| sizes.of(index) as u64).sum();
            assert!(all >= least, "{all} bytes in few parts");
        }
    }
}
