//! The few elements that are read from a service's answers.

/// The texts of all elements of this name, in order.
pub(crate) fn texts<'a>(document: &'a str, name: &'a str) -> impl Iterator<Item = String> + 'a {
    blocks(document, name).map(unescape)
}

/// What is inside of all elements of this name, in order.
pub(crate) fn blocks<'a>(document: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
    let mut rest = document;
    std::iter::from_fn(move || {
        loop {
            let (_, after) = rest.split_once('<')?;
            rest = after;
            let Some(inside) = after.strip_prefix(name) else { continue };
            // Attributes, and other names that begin like this one.
            let Some((attributes, inside)) = inside.split_once('>') else { continue };
            if !(attributes.is_empty() || attributes.starts_with(' ')) || attributes.ends_with('/') {
                continue;
            }
            let end = inside.find(&format!("</{name}>"))?;
            rest = &inside[end..];
            return Some(&inside[..end]);
        }
    })
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let (entity, after) = after.split_once(';').unwrap_or((after, ""));
        let number = entity.strip_prefix('#').and_then(|number| match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => number.parse().ok(),
        });
        out.extend(match entity {
            "quot" => Some('"'),
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "apos" => Some('\''),
            _ => number.and_then(char::from_u32),
        });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn elements_are_found_by_their_whole_name() {
        let document = "<?xml version=\"1.0\"?><R xmlns=\"x\"><Upload><Key>a&amp;b/&#x2f;</Key><UploadId>1</UploadId></Upload>\
            <Upload><Key>c</Key></Upload><ETag>&quot;e&quot;</ETag><ETag/></R>";
        let uploads: Vec<_> = blocks(document, "Upload").collect();
        assert_eq!(uploads.len(), 2);
        assert_eq!(texts(uploads[0], "Key").next().as_deref(), Some("a&b//"));
        assert_eq!(texts(uploads[1], "UploadId").next(), None);
        assert_eq!(texts(document, "ETag").collect::<Vec<_>>(), ["\"e\""]);
    }

    proptest! {
        #[test]
        fn anything_can_be_read(text in "[<>/&;#xAa ]{0,40}") {
            assert!(texts(&text, "A").count() <= text.len());
        }
    }
}
