//! Paths of requests.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::{RepoName, Route};

fuzz_target!(|path: &str| {
    let Ok(route) = Route::parse(path) else { return };
    if let Some(name) = route.repository() {
        assert_eq!(RepoName::parse(name.as_str()), Ok(name));
        assert!(name.as_str().split('/').all(|part| !part.is_empty() && !part.starts_with(['.', '_'])));
    }
});
