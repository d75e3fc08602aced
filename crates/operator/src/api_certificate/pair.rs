//! Making a certificate.

use std::fmt;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use super::{SERVICE, server_name};

/// How long a certificate is good.
const LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);
/// Clocks that are behind ours see it as good, too.
const EARLIER: SignedDuration = SignedDuration::from_hours(24);
/// When a third of its life is left, it is replaced.
pub(super) const RENEW_BEFORE: SignedDuration = SignedDuration::from_hours(365 * 24 / 3);

/// A certificate that vouches for itself, and its key, both as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pair")
    }
}

/// Why there is no certificate: the system has no random numbers, or the namespace is no name.
#[derive(Debug, thiserror::Error)]
#[error("no certificate can be made")]
pub struct MakeError(#[from] rcgen::Error);

/// A new key, and a certificate for the API's Service in this namespace that is good for a year.
///
/// # Errors
/// See [`MakeError`].
pub fn make(namespace: &str, now: Timestamp) -> Result<Pair, MakeError> {
    let name = server_name(namespace);
    let mut params = CertificateParams::new(vec![name.clone(), format!("{name}.cluster.local")])?;
    // Longer names than 64 characters are no common names.
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, SERVICE);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Whole days are fine enough.
    let day = |away: SignedDuration| {
        let date = now.checked_add(away).unwrap_or(now).to_zoned(TimeZone::UTC).date();
        date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    (params.not_before, params.not_after) = (day(-EARLIER), day(LIFE));
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}
