//! What a failed first request means.

use super::credentials::NO_TOKEN;
use crate::open::{Names, OpenError, diagnose};

pub(super) const NAMES: Names = Names {
    bucket: "storage.gcs.bucket",
    region: "storage.gcs.endpoint",
    address: "storage.gcs.endpoint",
    key: "storage.gcs.keyfile",
    secret: "storage.gcs.keyfile",
    authority: "storage.gcs.cafile",
};

/// In one line that names the setting. `wrote`: it was a write, and a read had succeeded.
pub(super) fn why(bucket: &str, wrote: bool, text: &str) -> OpenError {
    if !text.contains(NO_TOKEN) {
        return diagnose(&NAMES, bucket, wrote, text);
    }
    let lower = text.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let (setting, remedy) = if has(&["timeframe", "short-lived", "issued in the future", "expired"]) {
        ("clock", "the clocks of this machine and of Google differ, or its token has ended: set this machine's clock")
    } else if has(&["certificate"]) {
        (NAMES.authority, "a certificate is not trusted: name a file with its authority")
    } else if has(&["computemetadata"]) {
        (NAMES.key, "no credentials were found: set it or credentials, or give this machine an account")
    } else if has(&["invalid_grant", "invalid_client", "unauthorized_client", "invalid_target", "permission_denied"]) {
        (NAMES.key, "these credentials are not accepted: the key or account is gone, or is another one. Make a new key")
    } else {
        (NAMES.key, "there is no token for these credentials: check them, and the network to the address")
    };
    OpenError::new(setting, remedy, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_names_its_setting() {
        let token = |text: &str| format!("Generic GCS error: {NO_TOKEN}: {text}");
        for (text, setting) in [
            (
                token(
                    "https://oauth2.googleapis.com/token says 400: {\"error\":\"invalid_grant\",\"error_description\":\"Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.\"}",
                ),
                "clock",
            ),
            (
                token(
                    "https://oauth2.googleapis.com/token says 400: {\"error\":\"invalid_grant\",\"error_description\":\"Invalid JWT Signature.\"}",
                ),
                "storage.gcs.keyfile",
            ),
            (token("http://169.254.169.254/computeMetadata/v1/x: connection refused"), "storage.gcs.keyfile"),
            (
                token("https://oauth2.googleapis.com/token: invalid peer certificate: UnknownIssuer"),
                "storage.gcs.cafile",
            ),
            (token("/var/run/token: No such file or directory"), "storage.gcs.keyfile"),
            ("status code: 404: <Code>NoSuchBucket</Code> x".to_owned(), "storage.gcs.bucket"),
            ("status code: 401: Invalid Credentials (authError)".to_owned(), "storage.gcs.keyfile"),
            (
                "status code: 403: a does not have storage.objects.list access (forbidden)".to_owned(),
                "storage.gcs.keyfile",
            ),
            ("status code: 404: <html>".to_owned(), "storage.gcs.endpoint"),
            ("connection refused".to_owned(), "storage.gcs.endpoint"),
            ("invalid peer certificate: UnknownIssuer".to_owned(), "storage.gcs.cafile"),
        ] {
            assert_eq!(why("images", false, &text).setting, setting, "{text}");
        }
    }
}
