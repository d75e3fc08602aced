//! Manifests: a `Content-Type`, a newline, the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::{Descriptor, Digest, Manifest};

fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (header, body) = input.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    let Ok(accepted) = Manifest::parse(body, std::str::from_utf8(header).ok()) else { return };
    // What was accepted once is served later, without the header.
    let stored = Manifest::parse(body, None).unwrap_or_else(|error| panic!("accepted, then refused: {error}"));
    assert_eq!(stored.media_type, accepted.media_type);
    assert_eq!(stored.kind, accepted.kind);
    let digest = Digest::sha256(body);
    // What was read can be written and read again; a panic is what the fuzzer is told of.
    let record = serde_json::to_vec(&accepted.as_referrer(digest, body.len())).unwrap();
    let record: Descriptor = serde_json::from_slice(&record).unwrap();
    assert_eq!(record.digest, digest);
});
