//! Which tag an object is: what never changes while it exists.

use std::borrow::Cow;
use std::time::SystemTime;

use uuid::Uuid;

use super::position::micros;
use super::selectors::is_label_value;
use super::{GROUP, name};

/// Space of the UIDs of tags (RFC 9562 section 5.5).
const SPACE: Uuid = Uuid::from_u128(0x8f0e_6c1d_52b7_4c1e_9a35_0c3f_7f2d_61a8);

/// A tag by its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity<'a> {
    pub(crate) namespace: &'a str,
    /// Full name, with the namespace.
    pub(crate) repo: &'a str,
    pub(crate) tag: &'a str,
}

impl<'a> Identity<'a> {
    /// The repository below its namespace.
    pub(crate) fn relative(&self) -> &'a str {
        name::relative(self.repo).unwrap_or_default()
    }

    /// `metadata.name`.
    pub(crate) fn name(&self) -> String {
        name::encode(self.relative(), self.tag)
    }

    /// `metadata.uid`: the same while the tag is moved to other images, another one when it was deleted and made again.
    pub(crate) fn uid(&self, namespace_uid: &str, created: SystemTime) -> Uuid {
        let text = format!("{namespace_uid}/{}:{}@{}", self.relative(), self.tag, micros(created));
        Uuid::new_v5(&SPACE, text.as_bytes())
    }

    /// The value of a label, if the tag has it.
    pub(crate) fn label(&self, key: &str) -> Option<Cow<'a, str>> {
        match key.strip_prefix(GROUP)? {
            "/repository" => self.repository_label(),
            "/tag" => self.tag_label().map(Cow::Borrowed),
            _ => None,
        }
    }

    /// The repository as a label: a slash cannot be in one.
    pub(crate) fn repository_label(&self) -> Option<Cow<'a, str>> {
        let relative = self.relative();
        let value = if relative.contains('/') { relative.replace('/', ".").into() } else { Cow::Borrowed(relative) };
        is_label_value(&value).then_some(value)
    }

    /// The tag as a label.
    pub(crate) fn tag_label(&self) -> Option<&'a str> {
        Some(self.tag).filter(|tag| is_label_value(tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn tag<'a>(repo: &'a str, tag: &'a str) -> Identity<'a> {
        Identity { namespace: "shop", repo, tag }
    }

    #[test]
    fn labels_are_valid_or_left_out() {
        let label =
            |repo: &str, text: &str, key: &str| tag(repo, text).label(&format!("{GROUP}/{key}")).map(Cow::into_owned);
        assert_eq!(label("shop/web/app", "v1", "repository").as_deref(), Some("web.app"));
        assert_eq!(label("shop/web/app", "v1", "tag").as_deref(), Some("v1"));
        assert_eq!(label("shop/app", "v1_", "tag"), None, "must end in a letter or digit");
        assert_eq!(label(&format!("shop/{}", "a".repeat(64)), "v1", "repository"), None);
        assert_eq!(label("shop/app", "v1", "other"), None);
        assert_eq!(tag("shop/app", "v1").label("tag"), None);
    }

    #[test]
    fn uids_tell_lives_apart() {
        let born = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        let uid = |repo, text, space: &str, at| tag(repo, text).uid(space, at).to_string();
        let base = uid("shop/app", "v1", "u1", born);
        assert_eq!(base, uid("shop/app", "v1", "u1", born));
        for other in [
            uid("shop/app", "v2", "u1", born),
            uid("shop/apq", "v1", "u1", born),
            uid("shop/app", "v1", "u2", born),
            uid("shop/app", "v1", "u1", born + Duration::from_micros(1)),
        ] {
            assert_ne!(base, other);
        }
    }
}
