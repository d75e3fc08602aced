//! `fieldSelector`: `=`, `==` and `!=` over a few fields (apimachinery, `fields/selector.go`).

use crate::tags::identity::Identity;

/// Terms of one selector.
const TERMS_MAX: usize = 64;

/// A field that can be selected by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Name,
    Namespace,
    Repository,
    Tag,
}

impl Field {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "metadata.name" => Some(Self::Name),
            "metadata.namespace" => Some(Self::Namespace),
            "repository" | "status.repository" => Some(Self::Repository),
            "tag" | "status.tag" => Some(Self::Tag),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    field: Field,
    value: Box<str>,
    equal: bool,
}

/// All of its terms must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSelector(Box<[Term]>);

impl FieldSelector {
    /// # Errors
    /// What is wrong with it, for the client.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut terms = Vec::new();
        for part in split(text).into_iter().filter(|part| !part.is_empty()) {
            let (left, equal, right) =
                operator(part).ok_or_else(|| format!("invalid selector: '{text}'; can't understand '{part}'"))?;
            let value = unescape(right)?.into();
            let field = Field::parse(left).ok_or_else(|| format!("field label not supported: {left}"))?;
            if terms.len() == TERMS_MAX {
                return Err(format!("field selector has more than {TERMS_MAX} terms"));
            }
            terms.push(Term { field, value, equal });
        }
        Ok(Self(terms.into()))
    }

    pub(crate) fn matches(&self, tag: &Identity<'_>) -> bool {
        // Made once, however many terms ask for it.
        let mut name = None;
        self.0.iter().all(|term| {
            let equal = match term.field {
                Field::Name => *name.get_or_insert_with(|| tag.name()) == *term.value,
                Field::Namespace => *term.value == *tag.namespace,
                Field::Repository => *term.value == *tag.relative(),
                Field::Tag => *term.value == *tag.tag,
            };
            equal == term.equal
        })
    }

    /// The namespace, if only one can match.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.required(Field::Namespace)
    }

    /// The name, if only one can match.
    pub(crate) fn name(&self) -> Option<&str> {
        self.required(Field::Name)
    }

    /// The repository below its namespace, if only one can match.
    pub(crate) fn repository(&self) -> Option<&str> {
        self.required(Field::Repository)
    }

    /// The tag, if only one can match.
    pub(crate) fn tag(&self) -> Option<&str> {
        self.required(Field::Tag)
    }

    fn required(&self, field: Field) -> Option<&str> {
        self.0.iter().find(|term| term.field == field && term.equal).map(|term| &*term.value)
    }
}

/// The terms between commas that no backslash stands before.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Both sides of the first operator, and whether they are to be equal.
fn operator(term: &str) -> Option<(&str, bool, &str)> {
    let at =
        term.bytes().zip(term.bytes().skip(1).chain([0])).position(|pair| matches!(pair, (b'=', _) | (b'!', b'=')))?;
    let (left, rest) = term.split_at(at);
    if let Some(right) = rest.strip_prefix("!=") {
        return Some((left, false, right));
    }
    rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')).map(|right| (left, true, right))
}

fn unescape(text: &str) -> Result<String, String> {
    let (mut value, mut escaped) = (String::with_capacity(text.len()), false);
    for letter in text.chars() {
        match letter {
            '\\' | ',' | '=' if escaped => {
                value.push(letter);
                escaped = false;
            }
            _ if escaped => return Err(format!("invalid field selector: invalid escape sequence: \\{letter}")),
            '\\' => escaped = true,
            ',' | '=' => return Err(format!("invalid field selector: unescaped character in value: {letter}")),
            _ => value.push(letter),
        }
    }
    if escaped { Err("invalid field selector: invalid escape sequence: \\".to_owned()) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tag<'a>(repo: &'a str, tag: &'a str) -> Identity<'a> {
        Identity { namespace: repo.split('/').next().unwrap(), repo, tag }
    }

    fn selects(selector: &str, identity: &Identity<'_>) -> bool {
        FieldSelector::parse(selector).unwrap().matches(identity)
    }

    #[test]
    fn selectors() {
        let app = tag("shop/web/app", "v1");
        for yes in [
            "",
            ",",
            "metadata.namespace=shop",
            "repository=web/app",
            "repository==web/app,tag=v1",
            "status.repository=web/app,status.tag!=v2",
            "metadata.name=o5swel3bobydu5rr",
            "metadata.name!=o5swel3bobydu5rs",
            "tag!=",
        ] {
            assert!(selects(yes, &app), "{yes}");
        }
        for no in [
            "metadata.namespace!=shop",
            "repository=app",
            "tag=v1,tag=v2",
            "tag=V1",
            "metadata.name=",
            "tag=v1,repository!=web/app",
        ] {
            assert!(!selects(no, &app), "{no}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        for bad in
            ["tag", "a=b", "=v1", "spec.tag=v1", "tag=a=b", "tag=\\x", "tag=\\", "tag=a,b", "tag in (a)", "tag>1"]
        {
            assert!(FieldSelector::parse(bad).is_err(), "{bad}");
        }
        assert!(FieldSelector::parse(&"tag!=a,".repeat(TERMS_MAX)).is_ok());
        assert!(FieldSelector::parse(&"tag!=a,".repeat(TERMS_MAX + 1)).is_err());
    }

    #[test]
    fn what_only_one_can_have() {
        let selector = FieldSelector::parse("tag!=a,repository=b,metadata.namespace==c").unwrap();
        assert_eq!((selector.tag(), selector.repository(), selector.namespace()), (None, Some("b"), Some("c")));
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_evaluation(
            terms in proptest::collection::vec(("repository|tag|metadata[.]namespace", "=|==|!=", "a|b|a/b|,|\\\\|="), 0..4),
            repo in "(a|b)/(a|b|a/b)", text in "a|b",
        ) {
            let identity = tag(&repo, &text);
            let escape = |value: &str| value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
            let selector: Vec<_> = terms.iter().map(|(field, op, value)| format!("{field}{op}{}", escape(value))).collect();
            let expected = terms.iter().all(|(field, op, value)| {
                let is = match field.as_str() {
                    "repository" => repo.split_once('/').unwrap().1,
                    "tag" => text.as_str(),
                    _ => repo.split_once('/').unwrap().0,
                };
                (is == value.as_str()) == (op != "!=")
            });
            prop_assert_eq!(selects(&selector.join(","), &identity), expected);
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC*") {
            let _ = FieldSelector::parse(&text);
        }
    }
}
