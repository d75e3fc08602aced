//! `Authorization` headers.
#![no_main]

use access::{Basic, Credential};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|header: &[u8]| match Credential::parse(Some(header)) {
    Ok(Credential::Basic(basic)) => {
        assert!(!basic.user().contains(':'));
        assert_eq!(Basic::new(basic.user(), basic.password()), Some(basic));
    }
    Ok(Credential::Bearer(token)) => {
        assert!(token.expose().iter().all(u8::is_ascii_graphic));
        assert_eq!(Credential::bearer(token.expose()), Some(Credential::Bearer(token)));
    }
    Ok(Credential::None) => panic!("there was a header"),
    Err(_) => {}
});
