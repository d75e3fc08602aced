//! Patterns of `resourceNames`, and paths to match.
#![no_main]

use access::{PATTERN_BYTES_MAX, Pattern};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (pattern, path) = text.split_once('\n').unwrap_or((text, "a/b"));
    let problem = Pattern::problem(pattern, None);
    match Pattern::parse(pattern) {
        Ok(parsed) => {
            assert!(pattern.len() <= PATTERN_BYTES_MAX);
            let matched = parsed.matches(path);
            assert_eq!(parsed.matches(&path.to_ascii_uppercase()), matched);
            // A text without special characters means itself.
            if !pattern.is_empty() && !pattern.contains(['*', '?', '[', '{', '}', '\\']) {
                assert_eq!(matched, pattern.eq_ignore_ascii_case(path) && path.len() <= 255);
            }
        }
        Err(_) => assert!(problem.is_some()),
    }
});
