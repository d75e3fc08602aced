//! Digests in paths, parameters and manifests.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::Digest;

fuzz_target!(|text: &str| {
    let Ok(digest) = Digest::parse(text) else { return };
    assert_eq!(digest.to_string(), text);
    assert!(digest.hex().as_str().bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)));
    assert_eq!(Digest::new(digest.algorithm(), digest.as_bytes()), Ok(digest));
});
