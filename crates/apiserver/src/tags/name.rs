//! Names of objects: the lower-case unpadded base32 of `repository:tag`, the repository without its namespace.
//!
//! Names longer than the 253 characters that Kubernetes knows are the same encoding, only longer: they are listed, and can
//! be read and deleted by that name.

use data_encoding::BASE32_NOPAD;
use oci::{REPO_NAME_MAX, RepoName, TAG_MAX, Tag};

/// Longest name that any tag has.
const NAME_MAX: usize = (REPO_NAME_MAX + 1 + TAG_MAX).div_ceil(5) * 8;

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// The full name of the repository, with the namespace.
    pub(crate) repo: Box<str>,
    /// The tag.
    pub(crate) tag: Box<str>,
}

/// The repository's name below its namespace; `None` for one that is nothing but a namespace.
pub(crate) fn relative(repo: &str) -> Option<&str> {
    repo.split_once('/').map(|(_, rest)| rest)
}

/// The name of the object for a tag of the repository `relative`.
pub(crate) fn encode(relative: &str, tag: &str) -> String {
    let mut name = BASE32_NOPAD.encode([relative, ":", tag].concat().as_bytes());
    name.make_ascii_lowercase();
    name
}

/// The tag of the namespace that has exactly this name.
pub(crate) fn decode(namespace: &str, name: &str) -> Option<Decoded> {
    let is_digit = |byte: u8| matches!(byte, b'a'..=b'z' | b'2'..=b'7');
    if name.len() > NAME_MAX || !name.bytes().all(is_digit) {
        return None;
    }
    // Bits that are left over must be zero, so there is no second name for anything.
    let bytes = BASE32_NOPAD.decode(name.to_ascii_uppercase().as_bytes()).ok()?;
    let text = std::str::from_utf8(&bytes).ok()?;
    let (relative, tag) = text.split_once(':')?;
    let repo = [namespace, "/", relative].concat();
    let sound = !relative.is_empty() && RepoName::parse(&repo).is_ok() && Tag::parse(tag).is_ok();
    sound.then(|| Decoded { repo: repo.into(), tag: tag.into() })
}

/// Whether a text can be the name of an object at all (RFC 1123 subdomain, without its bound on the length).
pub(crate) fn is_object_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let fine =
        |part: &str| !part.is_empty() && !part.starts_with('-') && !part.ends_with('-') && part.bytes().all(inner);
    name.len() <= NAME_MAX && name.split('.').all(fine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_the_documents() {
        assert_eq!(encode("http-echo", "latest"), "nb2hi4bnmvrwq3z2nrqxizltoq");
        assert_eq!(encode("test/http-echo", "latest"), "orsxg5bpnb2hi4bnmvrwq3z2nrqxizltoq");
        let decoded = decode("shop", "orsxg5bpnb2hi4bnmvrwq3z2nrqxizltoq").unwrap();
        assert_eq!((&*decoded.repo, &*decoded.tag), ("shop/test/http-echo", "latest"));
    }

    #[test]
    fn other_texts_are_no_names() {
        let odd = |text: &str| BASE32_NOPAD.encode(text.as_bytes()).to_ascii_lowercase();
        for text in ["", "a", ":", "a:", ":b", "A:b", "a:b:c", "a/:b", "/a:b", "../x:b", "a\0:b", "a:-b", "a:ü"] {
            assert_eq!(decode("shop", &odd(text)), None, "{text:?}");
        }
        let good = encode("http-echo", "latest");
        for bad in
            ["", "!", "nb2hi4bn mvrwq3z2", "1", "0189", &good.to_uppercase(), &format!("{good}======"), &good[1..]]
        {
            assert_eq!(decode("shop", bad), None, "{bad:?}");
        }
        // The last letter holds bits that are not used: only zeros count.
        assert!(good.ends_with('q'));
        assert_eq!(decode("shop", &format!("{}r", &good[..good.len() - 1])), None);
        assert_eq!(decode(&"n".repeat(63), &encode(&"a".repeat(250), "b")), None, "too long with its namespace");
        assert_eq!(decode("shop", &"a".repeat(10_000)), None);
    }

    #[test]
    fn what_can_be_asked_for() {
        for good in ["a", "nb2hi4bnmvrwq3z2nrqxizltoq", "a.b-c", &encode(&"r/".repeat(120), &"t".repeat(128))] {
            assert!(is_object_name(good), "{good}");
        }
        for bad in
            ["", "A", "a_b", "a/b", "a b", "a:b", "%", "ü", ".", "..", "-a", "a-", "a..b", &"a".repeat(NAME_MAX + 1)]
        {
            assert!(!is_object_name(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn names_come_back(path in "[a-z0-9]{1,9}((/|-|[.]|_|__)[a-z0-9]{1,9}){0,14}", tag in "[A-Za-z0-9_][A-Za-z0-9._-]{0,127}") {
            let name = encode(&path, &tag);
            prop_assert!(is_object_name(&name));
            let decoded = decode("ns", &name);
            if path.len() + 3 <= REPO_NAME_MAX {
                prop_assert_eq!(decoded, Some(Decoded { repo: format!("ns/{path}").into(), tag: tag.into() }));
            } else {
                prop_assert_eq!(decoded, None);
            }
        }

        #[test]
        fn a_tag_has_one_name(name in "[a-z2-7]{1,40}") {
            if let Some(decoded) = decode("ns", &name) {
                prop_assert_eq!(encode(relative(&decoded.repo).unwrap(), &decoded.tag), name);
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC*") {
            decode("ns", &text);
            is_object_name(&text);
        }
    }
}
