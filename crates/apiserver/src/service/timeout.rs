//! How long a request may take.

use std::time::Duration;

use oci::Query;

use crate::limits::REQUEST_TIME_MAX;
use crate::status::{Failure, Result};

/// The time that a request may take: a client may want less than the most.
pub(super) fn limit(query: Option<&str>) -> Result<Duration> {
    let Some(text) = Query::new(query).get("timeout").filter(|text| !text.is_empty()) else {
        return Ok(REQUEST_TIME_MAX);
    };
    let invalid = || Failure::bad_request("invalid timeout specified in the request URL");
    let wanted = duration(&text).ok_or_else(invalid)?;
    Ok(if wanted.is_zero() { REQUEST_TIME_MAX } else { wanted.min(REQUEST_TIME_MAX) })
}

/// Reads a duration as Go writes it, such as `32s` or `1m30s`; `None` for what is none or is negative.
fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 7] =
        [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).filter(|at| *at > 0)?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, next) = tail.split_at(end);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        seconds += number.parse::<f64>().ok()? * factor;
        rest = next;
    }
    if text.is_empty() { None } else { Duration::try_from_secs_f64(seconds).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, expected) in [
            ("32s", Some(Duration::from_secs(32))),
            ("1m30s", Some(Duration::from_secs(90))),
            ("1.5h", Some(Duration::from_secs(5400))),
            ("100ms", Some(Duration::from_millis(100))),
            ("0", Some(Duration::ZERO)),
            ("0s", Some(Duration::ZERO)),
            ("", None),
            ("30", None),
            ("s", None),
            ("-1s", None),
            ("1x", None),
            ("1.2.3s", None),
            ("999999999999999999999999h", None),
        ] {
            assert_eq!(duration(text), expected, "{text}");
        }
    }
}
