//! The annotations by which a Secret asks for a token, and by which it tells what it got.

/// Names the ServiceAccount; a Secret that has it is ours to fill.
pub const SERVICE_ACCOUNT: &str = "payload-registry.deckhouse.io/service-account.name";
/// The UID of the ServiceAccount that the token belongs to.
pub const SERVICE_ACCOUNT_UID: &str = "payload-registry.deckhouse.io/service-account.uid";
/// When the token ends, RFC 3339 in UTC.
pub const EXPIRES_AT: &str = "payload-registry.deckhouse.io/expires-at";
/// By which a foreign change of what we wrote is noticed.
pub const HASH: &str = "payload-registry.deckhouse.io/hash";
/// How it stands, as a condition in JSON.
pub const STATUS: &str = "payload-registry.deckhouse.io/status";
/// Which operator fills it, where a cluster has several.
pub const OPERATOR: &str = "payload-registry.deckhouse.io/operator";

/// The type of the Secrets that a kubelet pulls with.
pub const SECRET_TYPE: &str = "kubernetes.io/dockerconfigjson";
/// The key of their data.
pub const DATA_KEY: &str = ".dockerconfigjson";
/// The user name that goes with a token; the registry takes any.
pub const USER: &str = "token";

/// Longest name of an object, fixed by Kubernetes.
const NAME_MAX: usize = 253;

/// Whether a text can be the name of a ServiceAccount. What names one of another namespace (`ns/name`, `ns:name`,
/// `system:serviceaccount:ns:name`) cannot.
pub(super) fn is_service_account_name(text: &str) -> bool {
    text.len() <= NAME_MAX && text.split('.').all(is_label)
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && !text.starts_with('-') && !text.ends_with('-') && text.bytes().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_own_namespace_are_names() {
        for good in ["ci", "my-pull-sa", "a.b-c.9", &"a".repeat(253)] {
            assert!(is_service_account_name(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "a..b",
            "-a",
            "a-",
            "A",
            "other/ci",
            "other:ci",
            "system:serviceaccount:other:ci",
            "../ci",
            "a b",
            "a\n",
            "ä",
            "%2e%2e",
            "a_b",
            &"a".repeat(254),
        ] {
            assert!(!is_service_account_name(bad), "{bad:?}");
        }
    }
}
