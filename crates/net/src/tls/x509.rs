//! The few fields of a certificate that we show or log. Not a validator: rustls has verified the certificate by then,
//! or nobody relies on it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const INTEGER: u8 = 0x02;
const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0] EXPLICIT Version`
const VERSION: u8 = 0xa0;

/// id-at-commonName and id-at-organizationName, RFC 5280 appendix A.1.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) not_after: SystemTime,
    /// The last one, which is the most specific.
    pub(crate) common_name: Option<String>,
    pub(crate) organizations: Vec<String>,
}

/// Reads a certificate (RFC 5280 section 4.1). `None` when it is malformed.
pub(crate) fn read(der: &[u8]) -> Option<Fields> {
    let mut certificate = Reader(Reader(der).take(SEQUENCE)?);
    let mut tbs = Reader(certificate.take(SEQUENCE)?);
    if tbs.0.first() == Some(&VERSION) {
        tbs.take(VERSION)?;
    }
    tbs.take(INTEGER)?; // serial number
    tbs.take(SEQUENCE)?; // signature algorithm
    tbs.take(SEQUENCE)?; // issuer
    let mut validity = Reader(tbs.take(SEQUENCE)?);
    validity.next()?; // not before
    let (tag, text) = validity.next()?;
    let not_after = time(tag, text)?;

    let mut subject = Reader(tbs.take(SEQUENCE)?);
    let mut fields = Fields { not_after, common_name: None, organizations: Vec::new() };
    while !subject.0.is_empty() {
        let mut set = Reader(subject.take(SET)?);
        while !set.0.is_empty() {
            let mut attribute = Reader(set.take(SEQUENCE)?);
            let kind = attribute.take(OBJECT_ID)?;
            let (_, value) = attribute.next()?;
            let Ok(value) = std::str::from_utf8(value) else { continue };
            match kind {
                COMMON_NAME => fields.common_name = Some(value.to_owned()),
                ORGANIZATION => fields.organizations.push(value.to_owned()),
                _ => {}
            }
        }
    }
    Some(fields)
}

/// DER: one tag byte, a length, the content.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            // Up to four bytes of length; certificates are smaller than that by far.
            let count = usize::from(first & 0x7f);
            let bytes = rest.get(..count).filter(|_| (1..=4).contains(&count))?;
            let len = bytes.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
            (len, &rest[count..])
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn take(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, content)| content)
    }
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280 section 4.1.2.5).
fn time(tag: u8, text: &[u8]) -> Option<SystemTime> {
    let digits = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year: u64 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    if rest.len() != 10 || !rest.bytes().all(|byte| byte.is_ascii_digit()) || year < 1970 {
        return None;
    }
    let pair = |at: usize| rest[at..at + 2].parse::<u64>().ok();
    let (month, day) = (pair(0)?, pair(2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let seconds = pair(4)? * 3_600 + pair(6)? * 60 + pair(8)?;
    Some(UNIX_EPOCH + Duration::from_secs(days_since_1970(year, month, day) * 86_400 + seconds))
}

/// Days of the Gregorian calendar, with years that begin in March so that the leap day is the last one.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let year = if month > 2 { year } else { year - 1 };
    let month = (month + 9) % 12;
    // 719,468 days lie between 1 March of year 0 and 1 January 1970.
    year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_rcgen_writes() {
        let mut params = rcgen::CertificateParams::new(vec!["registry".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2031, 2, 28);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "system:masters");
        params.distinguished_name.push(rcgen::DnType::CommonName, "front-proxy");
        let key = rcgen::KeyPair::generate().unwrap();
        let fields = read(params.self_signed(&key).unwrap().der()).unwrap();
        assert_eq!(fields.common_name.as_deref(), Some("front-proxy"));
        assert_eq!(fields.organizations, ["system:masters"]);
        // date -u -d 2031-02-28 +%s
        assert_eq!(fields.not_after, UNIX_EPOCH + Duration::from_secs(1_930_003_200));
    }

    #[test]
    fn times_agree_with_date() {
        let check = |tag, text: &[u8], seconds| {
            assert_eq!(time(tag, text), Some(UNIX_EPOCH + Duration::from_secs(seconds)), "{text:?}");
        };
        check(UTC_TIME, b"700101000000Z", 0);
        check(UTC_TIME, b"000229235959Z", 951_868_799);
        check(GENERALIZED_TIME, b"20500101000000Z", 2_524_608_000);
        check(GENERALIZED_TIME, b"99991231235959Z", 253_402_300_799);
        for bad in [&b""[..], b"Z", b"20501301000000Z", b"2050010100000Z", b"20500101000000", b"\xff\xffZ"] {
            assert_eq!(time(GENERALIZED_TIME, bad), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, tag: u8) {
            let _ = read(&bytes);
            let _ = time(tag, &bytes);
        }
    }
}
