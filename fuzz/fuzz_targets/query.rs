//! Query strings and the pages that they ask for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::{Page, Query};

fuzz_target!(|text: &str| {
    let query = Query::new(Some(text));
    assert_eq!(query.get("tag"), query.all("tag").next());
    if let Ok(page) = Page::parse(query, 100, 1000) {
        assert!(page.limit <= 1000);
        assert!(page.last.is_none_or(|last| !last.is_empty()));
    }
});
