//! Bearer tokens: arbitrary ones, and one of ours with changes. Only the unchanged one is accepted.
#![no_main]

use access::{Caller, Directory, Keys, ManualClock, TokenAuthority, TokenKind, TokenSettings};
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

static AUTHORITY: LazyLock<(TokenAuthority, Vec<u8>)> = LazyLock::new(|| {
    let settings = TokenSettings {
        issuer: "issuer".into(),
        service: "service".into(),
        access_life: Duration::from_secs(300),
        refresh_life: Duration::from_secs(3600),
        leeway: Duration::from_secs(30),
    };
    // Keys and settings are fixed: without them there is nothing to try.
    let keys = Keys::new(&[7; 32], Some(&[8; 32])).unwrap();
    let clock = Arc::new(ManualClock::new(1_000_000));
    let authority = TokenAuthority::new(settings, keys, Arc::new(Directory::default()), clock, 100);
    let token =
        authority.issue(&Caller::anonymous(), TokenKind::Access).unwrap_or_else(|error| panic!("{error}")).token;
    (authority, token.into_bytes())
});

fuzz_target!(|input: (Vec<(u16, u8)>, &[u8])| {
    let (authority, token) = &*AUTHORITY;
    let (changes, arbitrary) = input;
    assert!(authority.verify(arbitrary, TokenKind::Access).is_err());
    assert!(authority.verify(arbitrary, TokenKind::Refresh).is_err());
    let mut changed = token.clone();
    for (at, byte) in changes {
        let at = usize::from(at) % changed.len();
        changed[at] = byte;
    }
    assert_eq!(authority.verify(&changed, TokenKind::Access).is_ok(), changed == *token);
    assert!(authority.verify(&changed, TokenKind::Refresh).is_err());
});
