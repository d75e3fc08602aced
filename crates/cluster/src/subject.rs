//! A caller in the words of the API.

use std::collections::BTreeMap;

use access::Caller;
use serde::Serialize;

/// The name of who has none.
pub(crate) const ANONYMOUS_USER: &str = "system:anonymous";
/// The group of who has no name.
pub(crate) const UNAUTHENTICATED_GROUP: &str = "system:unauthenticated";
/// The group of everybody else.
pub(crate) const AUTHENTICATED_GROUP: &str = "system:authenticated";

/// A caller as part of a review.
#[derive(Serialize)]
pub(crate) struct Attributes<'a> {
    pub(crate) user: &'a str,
    pub(crate) groups: Vec<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) uid: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) extra: BTreeMap<&'a str, &'a [String]>,
}

impl<'a> Attributes<'a> {
    pub(crate) fn of(caller: &'a Caller) -> Self {
        let Some(user) = caller.name() else {
            let (user, groups) = (ANONYMOUS_USER, vec![UNAUTHENTICATED_GROUP]);
            return Self { user, groups, uid: "", extra: BTreeMap::new() };
        };
        Self {
            user,
            groups: caller.groups().iter().map(|group| &**group).collect(),
            uid: caller.uid().unwrap_or_default(),
            extra: caller.extra().iter().filter(|(key, _)| !is_of_one_token(key)).map(pair).collect(),
        }
    }
}

fn pair<'a>((key, values): (&'a String, &'a Vec<String>)) -> (&'a str, &'a [String]) {
    (key, values)
}

/// Whether the attribute is another one for each token of the same user. Rights are not asked for with those: RBAC looks at
/// none of them, and each token would have answers of its own.
fn is_of_one_token(key: &str) -> bool {
    let key = key.strip_prefix("authentication.kubernetes.io/");
    matches!(key, Some("credential-id" | "pod-name" | "pod-uid" | "node-name" | "node-uid"))
}

#[cfg(test)]
mod tests {
    use access::Source;

    use super::*;

    #[test]
    fn two_tokens_of_a_user_ask_the_same() {
        let of = |token: &str| {
            let extra = ["credential-id", "pod-name", "pod-uid", "node-name", "node-uid"]
                .map(|key| (format!("authentication.kubernetes.io/{key}"), vec![token.to_owned()]));
            let kept = ("scopes".to_owned(), vec!["a".to_owned()]);
            let caller = Caller::named("bob", Source::Cluster).with_extra(extra.into_iter().chain([kept]).collect());
            serde_json::to_string(&Attributes::of(&caller)).unwrap()
        };
        assert_eq!(of("1"), of("2"));
        assert_eq!(of("1"), r#"{"user":"bob","groups":[],"extra":{"scopes":["a"]}}"#);
    }

    #[test]
    fn nobody_has_a_name_too() {
        let text = serde_json::to_string(&Attributes::of(&Caller::anonymous())).unwrap();
        assert_eq!(text, r#"{"user":"system:anonymous","groups":["system:unauthenticated"]}"#);
    }
}
