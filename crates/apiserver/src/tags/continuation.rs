//! Tokens with which a list goes on where its last page has ended.

use std::time::{Duration, SystemTime};

use data_encoding::BASE64URL_NOPAD;
use oci::{Digest, RepoName, Tag};
use serde::{Deserialize, Serialize};

use super::position::{Version, micros};
use crate::status::{Failure, Result};

/// How long a list may take before what it shows is too far from one moment.
const LIFE: Duration = Duration::from_secs(5 * 60);
/// By so much the clocks of replicas may differ.
const SKEW: Duration = Duration::from_secs(10);
/// Longer texts than any token that we make.
const TOKEN_MAX: usize = 1024;
const VERSION: &str = "homeport/v1";
const EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. You can start a \
    new list without the continue parameter, or use the continue token in this response to retrieve the remainder of \
    the results. Continuing with the provided token results in an inconsistent list - objects that were created, \
    modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// Where a list goes on, and what it is a list of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Continuation {
    /// The version of the first page, which is the version of the whole list.
    pub(crate) version: Version,
    /// Full name of the repository of the last tag that was shown.
    pub(crate) repo: String,
    /// That tag.
    pub(crate) tag: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    v: String,
    rv: u64,
    repo: String,
    tag: String,
    /// Of which list.
    of: String,
}

/// Stands for the list that a token belongs to: another namespace or other selectors make another list.
pub(crate) fn mark(namespace: Option<&str>, field_selector: &str, label_selector: &str) -> String {
    let text = serde_json::to_vec(&(namespace, field_selector, label_selector)).unwrap_or_default();
    Digest::sha256(&text).hex().as_str().chars().take(16).collect()
}

impl Continuation {
    pub(crate) fn encode(&self, mark: &str) -> String {
        let token = Token {
            v: VERSION.to_owned(),
            rv: self.version.number(),
            repo: self.repo.clone(),
            tag: self.tag.clone(),
            of: mark.to_owned(),
        };
        // Strings and numbers always have a JSON form.
        BASE64URL_NOPAD.encode(&serde_json::to_vec(&token).unwrap_or_default())
    }

    /// Reads a token for the list that `mark` stands for.
    ///
    /// # Errors
    /// 400 for what we have not made for this list; 410 with a fresh token when it is too old.
    pub(crate) fn decode(text: &str, mark: &str, now: SystemTime) -> Result<Self> {
        let token = read(text).ok_or_else(|| Failure::bad_request("continue key is not valid"))?;
        if token.of != mark {
            let message = "continue key is not valid: it is of a list with another namespace or other selectors";
            return Err(Failure::bad_request(message));
        }
        let version = Version::from(token.rv);
        let found = Self { version, repo: token.repo, tag: token.tag };
        let now = micros(now);
        let (life, skew) = (LIFE.as_micros(), SKEW.as_micros());
        if u128::from(version.micros()) > u128::from(now) + skew {
            return Err(Failure::bad_request("continue key is not valid: it is of a time to come"));
        }
        if u128::from(version.micros()) + life < u128::from(now) {
            let fresh = Self { version: Version::of_now(now), ..found };
            return Err(Failure::expired(EXPIRED, Some(fresh.encode(mark))));
        }
        Ok(found)
    }
}

fn read(text: &str) -> Option<Token> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok().filter(|_| text.len() <= TOKEN_MAX)?;
    let token: Token = serde_json::from_slice(&bytes).ok()?;
    // A repository without a path below its namespace is nobody's to see.
    let sound = token.v == VERSION
        && token.repo.contains('/')
        && RepoName::parse(&token.repo).is_ok()
        && Tag::parse(&token.tag).is_ok();
    sound.then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use proptest::prelude::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn token(seconds: u64) -> Continuation {
        let version = Version::of_now(micros(at(seconds)));
        Continuation { version, repo: "shop/app".to_owned(), tag: "v1".to_owned() }
    }

    #[test]
    fn old_tokens_come_with_a_fresh_one() {
        let mark = mark(Some("shop"), "", "");
        let text = token(1000).encode(&mark);
        assert!(Continuation::decode(&text, &mark, at(1300)).is_ok());
        let expired = Continuation::decode(&text, &mark, at(1301)).unwrap_err();
        assert_eq!((expired.status(), expired.reason()), (StatusCode::GONE, "Expired"));
        let status = serde_json::to_value(&expired).unwrap();
        let fresh = Continuation::decode(status["metadata"]["continue"].as_str().unwrap(), &mark, at(1301)).unwrap();
        assert_eq!((&*fresh.repo, &*fresh.tag), ("shop/app", "v1"));
        assert_eq!(Continuation::decode(&text, &mark, at(900)).unwrap_err().status(), StatusCode::BAD_REQUEST);
    }

    #[test]
    fn tokens_are_for_one_list() {
        let marks = [
            mark(None, "", ""),
            mark(Some(""), "", ""),
            mark(Some("shop"), "", ""),
            mark(Some("shop"), "a=b", ""),
            mark(Some("shop"), "", "a=b"),
        ];
        for (index, one) in marks.iter().enumerate() {
            for (other, two) in marks.iter().enumerate() {
                let decoded = Continuation::decode(&token(1000).encode(one), two, at(1000));
                assert_eq!(decoded.is_ok(), index == other);
                assert!(decoded.is_ok_and(|found| found == token(1000)) == (index == other));
            }
        }
    }

    #[test]
    fn what_we_have_not_made() {
        let mark = mark(None, "", "");
        let json = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        let odd = [
            String::new(),
            "!".to_owned(),
            "abc".to_owned(),
            json("{}"),
            json("null"),
            json(r#"{"v":"meta.k8s.io/v1","rv":5,"start":"a/b\u0000"}"#),
            Continuation { repo: "../x".to_owned(), ..token(1000) }.encode(&mark),
            Continuation { repo: "shop".to_owned(), ..token(1000) }.encode(&mark),
            Continuation { tag: String::new(), ..token(1000) }.encode(&mark),
            "A".repeat(100_000),
        ];
        for text in odd {
            let refused = Continuation::decode(&text, &mark, at(1000)).unwrap_err();
            assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{text}");
        }
    }

    proptest! {
        #[test]
        fn tokens_come_back(repo in "[a-z]{1,40}(/[a-z]{1,40}){1,4}", tag in "[A-Za-z0-9_]{1,128}", seconds in 301..1u64 << 32) {
            let whole = Continuation { version: Version::of_now(micros(at(seconds))), repo, tag };
            let text = whole.encode("m");
            prop_assert_eq!(Continuation::decode(&text, "m", at(seconds)).unwrap(), whole);
        }

        #[test]
        fn arbitrary_text_never_panics(text in "[A-Za-z0-9_-]{0,80}") {
            let _ = Continuation::decode(&text, "m", at(1000));
        }
    }
}
