//! The document of a pull secret, docker's `config.json`. The entries of our hosts are ours, everything else in it
//! belongs to somebody else and stays as it is.

use data_encoding::BASE64;
use serde_json::{Map, Value, json};

use super::claims::Claims;
use super::names::USER;
use super::view::Key;

const AUTHS: &str = "auths";

pub(super) struct Document(Map<String, Value>);

impl Document {
    /// What is no document holds nothing that a kubelet could use, and nothing worth keeping.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(root)) => Self(root),
            _ => Self(Map::new()),
        }
    }

    fn auths(&self) -> Option<&Map<String, Value>> {
        self.0.get(AUTHS)?.as_object()
    }

    /// The token that all of the hosts have, written as we write it.
    pub(super) fn token(&self, hosts: &[String]) -> Option<&str> {
        let auths = self.auths()?;
        let token = auths.get(hosts.first()?)?.get("password")?.as_str()?;
        let wanted = entry(token);
        hosts.iter().all(|host| auths.get(host) == Some(&wanted)).then_some(token)
    }

    /// Puts the token under the hosts, and takes away what we once wrote for others.
    pub(super) fn fill(&mut self, secret: &Key, hosts: &[String], token: &str) {
        let auths = self.0.entry(AUTHS).or_insert_with(|| json!({}));
        if !auths.is_object() {
            *auths = json!({});
        }
        if let Some(auths) = auths.as_object_mut() {
            auths.retain(|_, value| !is_ours(secret, value));
            for host in hosts {
                auths.insert(host.clone(), entry(token));
            }
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        Value::Object(self.0).to_string().into_bytes()
    }
}

fn entry(token: &str) -> Value {
    let auth = BASE64.encode(format!("{USER}:{token}").as_bytes());
    json!({ "username": USER, "password": token, "auth": auth })
}

/// Nobody else puts in a token that is bound to this very Secret.
fn is_ours(secret: &Key, entry: &Value) -> bool {
    let password = entry.get("password").and_then(Value::as_str).unwrap_or_default();
    Claims::read(password).is_some_and(|claims| claims.is_bound_to(&secret.namespace, &secret.name))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{key, token};
    use super::*;
    use proptest::prelude::*;

    fn hosts(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn value(document: Document) -> Value {
        serde_json::from_slice(&document.into_bytes()).unwrap()
    }

    #[test]
    fn a_filled_document_is_what_a_kubelet_reads() {
        let mut document = Document::parse(br#"{"auths":{}}"#);
        document.fill(&key(), &hosts(&["r.example", "10.0.0.5:5000"]), "T");
        let entry = json!({"username": "token", "password": "T", "auth": "dG9rZW46VA=="});
        assert_eq!(value(document), json!({"auths": {"r.example": entry, "10.0.0.5:5000": entry}}));
    }

    #[test]
    fn what_others_put_in_stays() {
        let foreign = r#"{"auths":{"docker.io":{"auth":"eDp5"},"quay.io":7},"credHelpers":{"a":"b"}}"#;
        let mut document = Document::parse(foreign.as_bytes());
        document.fill(&key(), &hosts(&["r.example"]), "T");
        let mut filled = value(document);
        filled["auths"].as_object_mut().unwrap().remove("r.example").unwrap();
        assert_eq!(filled, serde_json::from_str::<Value>(foreign).unwrap());
    }

    #[test]
    fn hosts_that_are_no_longer_ours_lose_our_token_only() {
        let own = token(&key(), "sa-uid", 0, 3600);
        let mut document = Document::parse(br#"{"auths":{"docker.io":{"password":"x"}}}"#);
        document.fill(&key(), &hosts(&["old.example", "r.example"]), &own);
        document.fill(&key(), &hosts(&["r.example"]), "T");
        let filled = value(document);
        let left: Vec<&String> = filled["auths"].as_object().unwrap().keys().collect();
        assert_eq!(left, ["docker.io", "r.example"]);
    }

    #[test]
    fn a_token_counts_only_when_every_host_has_it_as_written() {
        let mut document = Document::parse(b"");
        document.fill(&key(), &hosts(&["a", "b"]), "T");
        assert_eq!(document.token(&hosts(&["a", "b"])), Some("T"));
        assert_eq!(document.token(&hosts(&["a"])), Some("T"));
        assert_eq!(document.token(&hosts(&["a", "b", "c"])), None);
        assert_eq!(document.token(&[]), None);
        document.0["auths"]["b"]["auth"] = json!("dG9rZW46");
        assert_eq!(document.token(&hosts(&["a", "b"])), None);
        assert_eq!(document.token(&hosts(&["a"])), Some("T"));
    }

    proptest! {
        /// Whatever was there, the result is a document with our token under our hosts, and a second time changes nothing.
        #[test]
        fn anything_can_be_filled(bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40).boxed(),
            prop_oneof![Just("{}"), Just("[]"), Just("null"), Just(r#"{"auths":[]}"#), Just(r#"{"auths":null}"#),
                Just(r#"{"auths":{"a":null}}"#), Just(r#"{"auths":{"a":{"password":3}}}"#)]
                .prop_map(|text| text.as_bytes().to_vec()).boxed(),
        ]) {
            let hosts = hosts(&["a", "b:1"]);
            let mut document = Document::parse(&bytes);
            document.fill(&key(), &hosts, "T");
            prop_assert_eq!(document.token(&hosts), Some("T"));
            let once = document.into_bytes();
            let mut document = Document::parse(&once);
            document.fill(&key(), &hosts, "T");
            prop_assert_eq!(document.into_bytes(), once);
        }
    }
}
