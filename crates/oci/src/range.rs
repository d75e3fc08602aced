//! `Range` of downloads (RFC 9110, section 14) and `Content-Range` of upload chunks (distribution-spec).

/// Most ranges in one request; clients of zstd:chunked split their request when they get 400.
pub const RANGES_MAX: usize = 256;

/// A part of a body, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// Last byte.
    pub end: u64,
}

impl ByteRange {
    /// Number of bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a range holds at least one byte")]
    pub fn len(self) -> u64 {
        self.end - self.start + 1
    }
}

/// What a `Range` header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangeOutcome {
    /// No range that we understand: the whole body.
    Full,
    /// One or several ranges, in the order asked.
    Partial(Vec<ByteRange>),
    /// None of the ranges lies in the body: 416.
    Unsatisfiable,
    /// More than [`RANGES_MAX`]: 400.
    TooMany,
}

/// Reads a `Range` header for a body of `size` bytes.
///
/// Syntax errors mean the whole body, as RFC 9110 wants it; so do several ranges that together are larger than
/// the body, which no honest client asks for.
#[must_use]
pub fn parse_range(header: &str, size: u64) -> RangeOutcome {
    let Some(list) = header.trim().strip_prefix("bytes=") else { return RangeOutcome::Full };
    let mut ranges = Vec::new();
    let mut seen = 0usize;
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        seen += 1;
        if seen > RANGES_MAX {
            return RangeOutcome::TooMany;
        }
        let Some(range) = parse_one(part, size) else { return RangeOutcome::Full };
        ranges.extend(range);
    }
    if seen == 0 {
        return RangeOutcome::Full;
    }
    if ranges.is_empty() {
        return RangeOutcome::Unsatisfiable;
    }
    let total: u64 = ranges.iter().fold(0, |sum, range| sum.saturating_add(range.len()));
    if ranges.len() > 1 && total > size {
        return RangeOutcome::Full;
    }
    RangeOutcome::Partial(ranges)
}

/// `None`: syntax error. `Some(None)`: outside of the body.
#[expect(clippy::option_option, reason = "three outcomes, used only above")]
fn parse_one(part: &str, size: u64) -> Option<Option<ByteRange>> {
    let (first, last) = part.split_once('-')?;
    if first.is_empty() {
        let suffix = number(last)?;
        if suffix == 0 || size == 0 {
            return Some(None);
        }
        return Some(Some(ByteRange { start: size.saturating_sub(suffix), end: size - 1 }));
    }
    let start = number(first)?;
    let end = if last.is_empty() { u64::MAX } else { number(last)? };
    // A range that ends before it begins may be ignored or refused (RFC 9110, 14.2); the conformance suite wants it refused.
    if end < start || start >= size {
        return Some(None);
    }
    Some(Some(ByteRange { start, end: end.min(size - 1) }))
}

/// Digits only; what does not fit into 64 bits is as good as the largest number.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

/// The place of a chunk in an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRange {
    /// First byte.
    pub start: u64,
    /// Last byte, included.
    pub end: u64,
}

/// The header is not `start-end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Content-Range of a chunk is written as <first byte>-<last byte>")]
pub struct RangeSyntaxError;

impl ChunkRange {
    /// Reads `start-end`; `bytes ` before and `/*` or `/total` behind are accepted as clients send them.
    ///
    /// # Errors
    /// [`RangeSyntaxError`].
    pub fn parse(header: &str) -> Result<Self, RangeSyntaxError> {
        let text = header.trim();
        let text = text.strip_prefix("bytes").map_or(text, |rest| rest.trim_start_matches([' ', '=']));
        let text = text.split_once('/').map_or(text, |(range, _)| range);
        let (start, end) = text.split_once('-').ok_or(RangeSyntaxError)?;
        let start = number(start).ok_or(RangeSyntaxError)?;
        let end = number(end).ok_or(RangeSyntaxError)?;
        // `0-0` with an empty body is what some clients send for nothing; the caller compares with the length.
        if end < start || end == u64::MAX { Err(RangeSyntaxError) } else { Ok(Self { start, end }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(start: u64, end: u64) -> RangeOutcome {
        RangeOutcome::Partial(vec![ByteRange { start, end }])
    }

    #[test]
    fn download_ranges() {
        for (header, expected) in [
            ("bytes=0-9", one(0, 9)),
            ("bytes=90-", one(90, 99)),
            ("bytes=90-1000", one(90, 99)),
            ("bytes=-10", one(90, 99)),
            ("bytes=-1000", one(0, 99)),
            ("bytes=100-", RangeOutcome::Unsatisfiable),
            ("bytes=-0", RangeOutcome::Unsatisfiable),
            ("bytes=100-,200-300", RangeOutcome::Unsatisfiable),
            ("bytes=9-0", RangeOutcome::Unsatisfiable),
            ("bytes=", RangeOutcome::Full),
            ("bytes=x-1", RangeOutcome::Full),
            ("items=0-1", RangeOutcome::Full),
            ("bytes=0-99,0-99", RangeOutcome::Full),
            ("bytes=99999999999999999999-", RangeOutcome::Unsatisfiable),
        ] {
            assert_eq!(parse_range(header, 100), expected, "{header}");
        }
        assert_eq!(
            parse_range("bytes=0-0, 5-6 ,200-", 100),
            RangeOutcome::Partial(vec![ByteRange { start: 0, end: 0 }, ByteRange { start: 5, end: 6 }])
        );
        assert_eq!(parse_range(&format!("bytes={}", "0-0,".repeat(300)), 1000), RangeOutcome::TooMany);
        assert_eq!(parse_range("bytes=0-", 0), RangeOutcome::Unsatisfiable);
    }

    #[test]
    fn chunk_ranges() {
        for header in ["0-9", "bytes 0-9/*", "0-9/10", "bytes=0-9"] {
            assert_eq!(ChunkRange::parse(header), Ok(ChunkRange { start: 0, end: 9 }), "{header}");
        }
        for header in ["", "-", "0", "9-0", "a-b", "0-18446744073709551615", "-1-5"] {
            assert!(ChunkRange::parse(header).is_err(), "{header}");
        }
    }

    proptest! {
        #[test]
        fn ranges_stay_inside(header in "bytes=[0-9,\\- ]{0,40}", size in 0u64..200) {
            if let RangeOutcome::Partial(ranges) = parse_range(&header, size) {
                for range in ranges {
                    prop_assert!(range.start <= range.end && range.end < size);
                }
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC*", size in any::<u64>()) {
            let _ = parse_range(&text, size);
            let _ = ChunkRange::parse(&text);
        }
    }
}
