//! Text that must not be seen.

use std::fmt;

/// Shorter ones can be found by trying.
const BYTES_MIN: usize = 16;

/// A password, key or hash. Neither `Debug` nor `config check` shows it; whoever needs it says so by calling
/// [`Secret::expose`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Too short for something that signs.
    pub(crate) fn is_guessable(&self) -> bool {
        self.0.len() < BYTES_MIN
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
