//! `Content-Range` of chunks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::ChunkRange;

fuzz_target!(|header: &str| {
    let Ok(range) = ChunkRange::parse(header) else { return };
    assert!(range.start <= range.end && range.end < u64::MAX);
    assert_eq!(ChunkRange::parse(&format!("{}-{}", range.start, range.end)), Ok(range));
});
