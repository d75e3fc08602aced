//! Why a bucket cannot be used, in one line that says what to do.

use crate::error::{code, one_line, status};
use std::fmt;

/// A bucket could not be opened.
#[derive(Debug)]
pub struct OpenError {
    /// The setting that is wrong, or most likely so.
    pub setting: &'static str,
    /// What to do.
    pub remedy: String,
    /// What the service or the system said.
    pub cause: String,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.remedy)?;
        if self.cause.is_empty() { Ok(()) } else { write!(f, " ({})", self.cause) }
    }
}

impl std::error::Error for OpenError {}

impl OpenError {
    pub(crate) fn new(setting: &'static str, remedy: impl Into<String>, cause: &str) -> Self {
        Self { setting, remedy: remedy.into(), cause: one_line(cause) }
    }
}

/// Names of settings, which differ by service.
pub(crate) struct Names {
    pub(crate) bucket: &'static str,
    pub(crate) region: &'static str,
    pub(crate) address: &'static str,
    pub(crate) key: &'static str,
    pub(crate) secret: &'static str,
    pub(crate) authority: &'static str,
}

/// What a failed first request means. `wrote`: it was a write, and a read had succeeded.
pub(crate) fn diagnose(names: &Names, bucket: &str, wrote: bool, text: &str) -> OpenError {
    let says = |setting, remedy: String| OpenError::new(setting, remedy, text);
    let named = code(text).map(|code| by_code(names, bucket, code, text));
    if let Some((setting, remedy)) = named.flatten() {
        return says(setting, remedy);
    }
    let lower = text.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if has(&["unknownissuer", "unknown issuer", "invalid peer certificate", "certificate"]) {
        let remedy =
            "the service's certificate is not trusted: name a file with its authority, and check the host name";
        return says(names.authority, remedy.to_owned());
    }
    if has(&["169.254.169.254", "169.254.170.2", "assumerolewithwebidentity", "credential", "no keys"]) {
        return says(names.key, "no credentials were found: set both keys, a credentials file or a role".to_owned());
    }
    match status(text) {
        Some(403) if wrote => {
            says(names.key, format!("these credentials may read bucket {bucket} but not write to it"))
        }
        Some(401 | 403) => says(names.key, format!("these credentials may not use bucket {bucket}")),
        Some(301 | 302 | 307 | 308) => says(names.region, format!("bucket {bucket} is in another region")),
        Some(400) => says(names.region, "the service refuses the request: check region and address".to_owned()),
        Some(404) => says(names.address, "nothing answers there as a bucket does: check address and bucket".to_owned()),
        None if has(&["redirect without location"]) => {
            says(names.region, format!("bucket {bucket} is in another region"))
        }
        _ => says(names.address, "the service does not answer: check address, network and that it runs".to_owned()),
    }
}

fn by_code(names: &Names, bucket: &str, code: &str, text: &str) -> Option<(&'static str, String)> {
    Some(match code {
        "NoSuchBucket" | "InvalidBucketName" => {
            (names.bucket, format!("there is no bucket {bucket}: make it, or correct the name"))
        }
        "InvalidAccessKeyId" | "InvalidClientTokenId" | "InvalidToken" | "ExpiredToken" | "XAdminUserNotFound" => {
            (names.key, "the service does not know this access key: correct or renew it".to_owned())
        }
        "SignatureDoesNotMatch" => {
            (names.secret, "the secret key does not belong to the access key: correct it".to_owned())
        }
        "RequestTimeTooSkewed" | "RequestExpired" => {
            ("clock", "the clocks of this machine and of the service differ: set this machine's clock".to_owned())
        }
        "PermanentRedirect"
        | "IllegalLocationConstraintException"
        | "AuthorizationHeaderMalformed"
        | "AuthorizationQueryParametersError" => {
            let region = text.split_once("<Region>").and_then(|(_, rest)| rest.split_once("</Region>"));
            let to = region.map_or_else(|| "correct it".to_owned(), |(region, _)| format!("set it to {region}"));
            (names.region, format!("bucket {bucket} is in another region: {to}"))
        }
        // What Alibaba's OSS calls the bucket in the path.
        "SecondLevelDomainForbidden" => (
            "storage.s3.forcepathstyle",
            "the service takes the bucket in the host name only: set it to false".to_owned(),
        ),
        "InvalidRegionName" => (names.region, "the service has no such region: correct it".to_owned()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names = Names {
        bucket: "bucket",
        region: "region",
        address: "regionendpoint",
        key: "accesskey",
        secret: "secretkey",
        authority: "cafile",
    };

    #[test]
    fn each_mistake_names_its_setting() {
        let said = |status: u16, code: &str| {
            format!(
                "Server returned non-2xx status code: {status} X: <Error><Code>{code}</Code><Region>eu-1</Region></Error>"
            )
        };
        for (text, setting) in [
            (said(404, "NoSuchBucket"), "bucket"),
            (said(403, "InvalidAccessKeyId"), "accesskey"),
            (said(403, "SignatureDoesNotMatch"), "secretkey"),
            (said(403, "RequestTimeTooSkewed"), "clock"),
            (said(400, "AuthorizationHeaderMalformed"), "region"),
            (said(301, "PermanentRedirect"), "region"),
            (said(403, "AccessDenied"), "accesskey"),
            (said(403, "SecondLevelDomainForbidden"), "storage.s3.forcepathstyle"),
            ("Received redirect without LOCATION, ...".to_owned(), "region"),
            ("invalid peer certificate: UnknownIssuer".to_owned(), "cafile"),
            ("Error performing PUT http://169.254.169.254/latest/api/token".to_owned(), "accesskey"),
            ("HTTP error: connection refused".to_owned(), "regionendpoint"),
            ("status code: 404 Not Found: <html>".to_owned(), "regionendpoint"),
        ] {
            let error = diagnose(&NAMES, "images", false, &text);
            assert_eq!(error.setting, setting, "{text}");
            assert!(!error.to_string().contains('\n'));
        }
        let wrong_region = diagnose(&NAMES, "images", false, &said(400, "AuthorizationHeaderMalformed"));
        assert!(wrong_region.remedy.contains("set it to eu-1"));
        assert!(diagnose(&NAMES, "images", true, &said(403, "AccessDenied")).remedy.contains("not write"));
    }
}
