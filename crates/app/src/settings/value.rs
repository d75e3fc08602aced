//! The meaning of a scalar's text: truths, numbers, durations, sizes.
//!
//! An error says what form is expected, and never repeats the text: the caller may be holding a secret.

use std::time::Duration;

/// Durations beyond this are mistakes, and adding them to a clock could overflow.
const DURATION_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

pub(crate) fn truth(text: &str) -> Result<bool, String> {
    // The words of YAML 1.1, which distribution's reader knows, and the digits that people write into variables.
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" | "1" => Ok(true),
        "false" | "no" | "off" | "n" | "0" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

pub(crate) fn count(text: &str) -> Result<u64, String> {
    integer(text)
        .ok()
        .and_then(|number| u64::try_from(number).ok())
        .ok_or_else(|| "must be a whole number, zero or more, without leading zeros".to_owned())
}

pub(crate) fn integer(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    // `010` is eight in YAML 1.1 and ten in YAML 1.2; nobody can tell what its author meant.
    let plain =
        digits == "0" || (!digits.starts_with('0') && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
    if plain {
        text.parse().map_err(|_| "is too large".to_owned())
    } else {
        Err("must be a whole number without leading zeros".to_owned())
    }
}

/// Go's form: numbers with a unit each, `1h30m`, `1.5s`, `100ms`. `None` as unit: a bare number, to be judged by the caller.
fn pieces(text: &str) -> Option<Vec<(&str, Option<&str>)>> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (digits, after) = rest.split_at(number);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        if !digits.bytes().any(|b| b.is_ascii_digit()) || digits.bytes().filter(|&b| b == b'.').count() > 1 {
            return None;
        }
        pieces.push((digits, (!unit.is_empty()).then_some(unit)));
        rest = after;
    }
    (!pieces.is_empty()).then_some(pieces)
}

fn nanoseconds(digits: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // More than 18 digits after the point are below a nanosecond for every unit.
    let fraction = &fraction[..fraction.len().min(18)];
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let fraction: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    whole.checked_mul(unit)?.checked_add(fraction.checked_mul(unit)? / scale)
}

/// A duration whose unit must be written, as in `5m`. Zero needs none.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a duration with a unit, such as 30s, 5m or 1h30m".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total: u128 = 0;
    for (digits, unit) in pieces(text).ok_or_else(wrong)? {
        let unit = match unit {
            Some("ns") => 1,
            Some("us" | "µs" | "μs") => 1_000,
            Some("ms") => 1_000_000,
            Some("s") => 1_000_000_000,
            Some("m") => 60 * 1_000_000_000,
            Some("h") => 3_600 * 1_000_000_000,
            _ => return Err(wrong()),
        };
        total = nanoseconds(digits, unit)
            .and_then(|piece| total.checked_add(piece))
            .ok_or_else(|| "is too long".to_owned())?;
    }
    if total > DURATION_MAX.as_nanos() {
        return Err("is too long; the limit is a hundred years".to_owned());
    }
    u64::try_from(total).map(Duration::from_nanos).map_err(|_| "is too long".to_owned())
}

/// As [`span`], or a bare number of nanoseconds, as distribution reads it.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match count(text) {
        Ok(nanoseconds) => span(&format!("{nanoseconds}ns")),
        Err(_) => span(text),
    }
}

/// Bytes: `1048576`, `4MiB`, `4Mi`, `5MB`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let wrong = || "must be a number of bytes, or one with a unit such as 512KiB, 4MiB or 10GiB".to_owned();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let number = count(digits).map_err(|_| wrong())?;
    let factor: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" | "ki" => 1 << 10,
        "mib" | "mi" => 1 << 20,
        "gib" | "gi" => 1 << 30,
        "tib" | "ti" => 1 << 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).ok_or_else(|| "is too large".to_owned())
}

/// How [`span`] writes a duration, with the largest units that fit.
pub(crate) fn show_duration(duration: Duration) -> String {
    let mut rest = duration.as_nanos();
    let mut text = String::new();
    for (unit, size) in [
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1_u128),
    ] {
        if rest >= size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations() {
        for (text, nanos) in [
            ("168h", 604_800_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("100ms", 100_000_000),
            ("1us", 1_000),
            ("1µs", 1_000),
            ("0", 0),
            ("0s", 0),
            ("+2m", 120_000_000_000),
        ] {
            assert_eq!(span(text), Ok(Duration::from_nanos(nanos)), "{text}");
            assert_eq!(duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
        assert_eq!(duration("10"), Ok(Duration::from_nanos(10)));
        for text in
            ["10", "", "s", "1d", "-1s", "1h30", "1..5s", ".s", "99999999999999999999h", "900000h99999999h", "5 m"]
        {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("4MiB", 4 << 20),
            ("4Mi", 4 << 20),
            ("4 mib", 4 << 20),
            ("5MB", 5_000_000),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5GiB", "4M", "010", "99999999999TiB", "1x"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_and_truths() {
        assert_eq!(count("0"), Ok(0));
        assert_eq!(integer("-1"), Ok(-1));
        for text in ["", "-", "010", "1e3", "1_000", "0x10", "99999999999999999999", "+1"] {
            assert!(integer(text).is_err(), "{text}");
        }
        assert!(count("-1").is_err());
        assert_eq!(truth("Yes"), Ok(true));
        assert_eq!(truth("off"), Ok(false));
        assert!(truth("maybe").is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,40}|[0-9.]{0,30}(ns|us|ms|s|m|h|MiB)?") {
            let _ = (truth(&text), count(&text), integer(&text), span(&text), duration(&text), size(&text));
        }

        #[test]
        fn a_shown_duration_reads_back(nanos in 0..DURATION_MAX.as_nanos() as u64) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(span(&show_duration(duration)), Ok(duration));
        }
    }
}
