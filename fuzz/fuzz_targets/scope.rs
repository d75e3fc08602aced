//! `scope` parameters of token requests.
#![no_main]

use access::{SCOPES_MAX, Scope};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(scope) = Scope::parse(text) {
        assert_eq!(scope.to_string(), text);
        assert!(!scope.name().contains(['"', '\\']));
        assert!(scope.actions().count() > 0);
    }
    if let Ok(scopes) = Scope::parse_all([text, text]) {
        assert!(scopes.len() <= SCOPES_MAX);
    }
});
