//! `Range` headers, for a body whose length is in the first eight bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::{RANGES_MAX, RangeOutcome, parse_range};

fuzz_target!(|input: (u64, &str)| {
    let (size, header) = input;
    let RangeOutcome::Partial(ranges) = parse_range(header, size) else { return };
    assert!(!ranges.is_empty() && ranges.len() <= RANGES_MAX);
    assert!(ranges.iter().all(|range| range.start <= range.end && range.end < size));
    assert!(ranges.iter().all(|range| range.len() > 0));
});
