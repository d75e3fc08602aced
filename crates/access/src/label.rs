//! Names of namespaces.

/// Longest label in bytes (RFC 1123 section 2.1).
const BYTES_MAX: usize = 63;

/// Whether a text can be the name of a namespace: a DNS label in the form that Kubernetes insists on. Letters of the other
/// case are not folded: no namespace has them.
#[must_use]
pub fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=BYTES_MAX).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        for good in ["a", "a-b", "1", &"x".repeat(63)] {
            assert!(is_label(good), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a/b", "..", "a_b", "\u{e9}", &"x".repeat(64)] {
            assert!(!is_label(bad), "{bad}");
        }
    }
}
