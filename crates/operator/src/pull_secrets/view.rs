//! A Secret as the rules need it.

use std::fmt;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::names;

/// Longest host annotation or status that is looked at; Kubernetes bounds all annotations of an object by 256 KiB.
const ANNOTATION_BYTES_MAX: usize = 4096;

/// What tells a Secret from others, in the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Where it is.
    pub namespace: String,
    /// What it is called there.
    pub name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Key {
    pub(super) fn of(metadata: &ObjectMeta) -> Option<Self> {
        Some(Self { namespace: metadata.namespace.clone()?, name: metadata.name.clone()? })
    }
}

/// Our annotations of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    /// [`names::SERVICE_ACCOUNT`].
    pub service_account: Option<String>,
    /// [`names::SERVICE_ACCOUNT_UID`].
    pub service_account_uid: Option<String>,
    /// [`names::EXPIRES_AT`].
    pub expires_at: Option<String>,
    /// [`names::HASH`].
    pub hash: Option<String>,
    /// [`names::STATUS`].
    pub status: Option<String>,
    /// [`names::OPERATOR`].
    pub operator: Option<String>,
}

impl Annotations {
    pub(super) fn of(metadata: &ObjectMeta) -> Self {
        let all = metadata.annotations.as_ref();
        // A cut value is as wrong as the whole one, and is shown in messages.
        let get = |key| all.and_then(|all| all.get(key)).map(|value| shortened(value, ANNOTATION_BYTES_MAX).to_owned());
        Self {
            service_account: get(names::SERVICE_ACCOUNT),
            service_account_uid: get(names::SERVICE_ACCOUNT_UID),
            expires_at: get(names::EXPIRES_AT),
            hash: get(names::HASH),
            status: get(names::STATUS),
            operator: get(names::OPERATOR).filter(|operator| !operator.is_empty()),
        }
    }
}

/// The content of [`names::DATA_KEY`]; its `Debug` shows no credential.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Data(pub Vec<u8>);

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// A Secret as the rules need it.
#[derive(Clone, Debug, PartialEq)]
pub struct SecretView {
    /// Its name.
    pub key: Key,
    /// What tells it from others of the same name.
    pub uid: String,
    /// Its state, for conditions on changes.
    pub resource_version: String,
    /// Its type.
    pub secret_type: String,
    /// Its data can no longer be changed.
    pub immutable: bool,
    /// It is being deleted.
    pub deleting: bool,
    /// What concerns us.
    pub annotations: Annotations,
    /// What it goes with.
    pub owners: Vec<OwnerReference>,
    /// What we fill.
    pub data: Data,
}

impl SecretView {
    /// `None` for what the API never sends: an object without a name or a UID.
    #[must_use]
    pub fn of(mut secret: Secret) -> Option<Self> {
        let data = secret.data.as_mut().and_then(|data| data.remove(names::DATA_KEY));
        Some(Self {
            key: Key::of(&secret.metadata)?,
            annotations: Annotations::of(&secret.metadata),
            deleting: secret.metadata.deletion_timestamp.is_some(),
            uid: secret.metadata.uid?,
            resource_version: secret.metadata.resource_version?,
            secret_type: secret.type_.unwrap_or_default(),
            immutable: secret.immutable.unwrap_or_default(),
            owners: secret.metadata.owner_references.unwrap_or_default(),
            data: Data(data.map(|data| data.0).unwrap_or_default()),
        })
    }
}

/// The beginning of a text, in whole characters.
pub(super) fn shortened(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(shortened("aäb", 2), "a");
        assert_eq!(shortened("aäb", 3), "aä");
        assert_eq!(shortened("aäb", 9), "aäb");
        assert_eq!(shortened("", 0), "");
    }

    #[test]
    fn data_are_not_shown() {
        let metadata = ObjectMeta {
            name: Some("pull".into()),
            namespace: Some("shop".into()),
            uid: Some("u".into()),
            resource_version: Some("1".into()),
            ..ObjectMeta::default()
        };
        let data = [(names::DATA_KEY.to_owned(), k8s_openapi::ByteString(b"password".to_vec()))];
        let secret = Secret { metadata, data: Some(data.into()), ..Secret::default() };
        let view = SecretView::of(secret).unwrap();
        assert_eq!(view.data.0, b"password");
        assert!(!format!("{view:?}").contains("password"));
        assert_eq!(view.key.to_string(), "shop/pull");
    }
}
