//! Query strings and the paging parameters `n` and `last`.

use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// Most parameters that are looked at; the rest of a longer query is ignored.
const PARAMETERS_MAX: usize = 128;

/// A query string, decoded on demand (`application/x-www-form-urlencoded`).
#[derive(Clone, Copy, Debug)]
pub struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// Wraps the raw text after `?`; empty for none.
    #[must_use]
    pub fn new(raw: Option<&'a str>) -> Self {
        Self(raw.unwrap_or_default())
    }

    /// There are more parameters than are looked at.
    #[must_use]
    pub fn is_too_long(self) -> bool {
        self.0.split('&').nth(PARAMETERS_MAX).is_some()
    }

    /// All pairs in order.
    pub fn pairs(self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
        self.0.split('&').take(PARAMETERS_MAX).filter(|part| !part.is_empty()).map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(key), decode(value))
        })
    }

    /// First value of `key`.
    #[must_use]
    pub fn get(self, key: &str) -> Option<Cow<'a, str>> {
        if self.0.is_empty() {
            return None;
        }
        self.pairs().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// All values of `key`, in order.
    pub fn all(self, key: &'a str) -> impl Iterator<Item = Cow<'a, str>> {
        self.pairs().filter(move |(name, _)| name == key).map(|(_, value)| value)
    }
}

fn decode(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        Cow::Owned(percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned())
    } else {
        percent_decode_str(text).decode_utf8_lossy()
    }
}

/// A request for one page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Most entries of the answer.
    pub limit: usize,
    /// The answer starts after this entry, in ASCII order.
    pub last: Option<String>,
    /// The client gave `n`.
    pub explicit: bool,
}

/// `n` is not a number that a list can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("query parameter n must be a whole number from 0 on")]
pub struct PageError;

impl Page {
    /// Reads `n` and `last`; `n` above `limit_max` is cut to it, a missing one means `limit_default`.
    ///
    /// # Errors
    /// [`PageError`].
    pub fn parse(query: Query<'_>, limit_default: usize, limit_max: usize) -> Result<Self, PageError> {
        let last = query.get("last").filter(|text| !text.is_empty()).map(Cow::into_owned);
        let Some(n) = query.get("n") else {
            return Ok(Self { limit: limit_default, last, explicit: false });
        };
        if n.is_empty() || !n.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(PageError);
        }
        // All digits: what does not fit is just larger than any limit.
        let limit = n.parse::<usize>().unwrap_or(usize::MAX).min(limit_max);
        Ok(Self { limit, last, explicit: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pages() {
        let page = |text| Page::parse(Query::new(Some(text)), 100, 1000);
        assert_eq!(page(""), Ok(Page { limit: 100, last: None, explicit: false }));
        assert_eq!(page("n=5&last=a%2Fb"), Ok(Page { limit: 5, last: Some("a/b".into()), explicit: true }));
        assert_eq!(page("n=0").unwrap().limit, 0);
        assert_eq!(page("n=99999999999999999999999").unwrap().limit, 1000);
        for bad in ["n=", "n=-1", "n=x", "n=1.5", "n=%20"] {
            assert_eq!(page(bad), Err(PageError), "{bad}");
        }
    }

    #[test]
    fn several_values() {
        let query = Query::new(Some("tag=a&x=1&tag=b+c&tag=%64"));
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["a", "b c", "d"]);
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC*") {
            let _ = Query::new(Some(&text)).get("digest");
            let _ = Page::parse(Query::new(Some(&text)), 1, 2);
        }
    }
}
