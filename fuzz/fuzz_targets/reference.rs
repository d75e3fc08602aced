//! Tags and digests by which manifests are asked for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::{Reference, TAG_MAX};

fuzz_target!(|text: &str| match Reference::parse(text) {
    Reference::Tag(tag) => {
        assert_eq!(tag.as_str(), text);
        assert!(text.len() <= TAG_MAX && !text.contains('/') && !text.starts_with('.'));
    }
    Reference::Digest(digest) => assert_eq!(digest.to_string(), text),
    Reference::Invalid(invalid) => assert_eq!(invalid, text),
});
