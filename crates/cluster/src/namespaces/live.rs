//! Questions about one namespace to the API server itself.

use access::{NamespaceState, NamespaceUid, is_label};
use kube::core::Status;
use thiserror::Error;

use super::Namespace;
use crate::call::{ApiError, get};
use crate::connect::Connection;
use crate::counters::Call;
use crate::object::Meta;
use crate::watch::Kind;

/// Proof that a namespace is gone for ever. Only an answer of the API server makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    namespace: Box<str>,
    gone: NamespaceUid,
    successor: Option<NamespaceUid>,
}

impl Proof {
    /// The name of the namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The UID of the namespace that is gone.
    #[must_use]
    pub fn gone(&self) -> &NamespaceUid {
        &self.gone
    }

    /// The UID of the namespace that has taken its name, if there was one at the time of the answer.
    #[must_use]
    pub fn successor(&self) -> Option<&NamespaceUid> {
        self.successor.as_ref()
    }
}

/// Why there is no proof.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NoProof {
    /// The namespace is there, perhaps on its way out.
    #[error("the namespace exists")]
    Present,
    /// Nobody can tell now.
    #[error("not known: {0}")]
    Unknown(String),
}

pub(super) async fn proof_gone(connection: &Connection, namespace: &str, uid: &NamespaceUid) -> Result<Proof, NoProof> {
    judge(namespace, uid, ask(connection, namespace).await)
}

fn judge(namespace: &str, uid: &NamespaceUid, answer: Result<Option<Meta>, String>) -> Result<Proof, NoProof> {
    if uid.0.is_empty() {
        return Err(NoProof::Unknown("no UID to compare with".into()));
    }
    let proof = |successor| Proof { namespace: namespace.into(), gone: uid.clone(), successor };
    match answer {
        Ok(None) => Ok(proof(None)),
        Ok(Some(meta)) if *meta.uid != *uid.0 => Ok(proof(Some(NamespaceUid(meta.uid.into())))),
        Ok(Some(_)) => Err(NoProof::Present),
        Err(reason) => Err(NoProof::Unknown(reason)),
    }
}

pub(super) async fn state(connection: &Connection, namespace: &str) -> NamespaceState {
    match ask(connection, namespace).await {
        Ok(None) => NamespaceState::Absent,
        Ok(Some(meta)) if meta.deleting => NamespaceState::Terminating(NamespaceUid(meta.uid.into())),
        Ok(Some(meta)) => NamespaceState::Exists(NamespaceUid(meta.uid.into())),
        Err(reason) => {
            tracing::debug!(namespace, reason, "state of a namespace is not known");
            NamespaceState::Unknown
        }
    }
}

/// The namespace, or `None` if the API server says that there is none.
async fn ask(connection: &Connection, namespace: &str) -> Result<Option<Meta>, String> {
    if !is_label(namespace) {
        return Err("not the name of a namespace".into());
    }
    let request = get(&format!("{}/{namespace}", Namespace::PATH)).map_err(|error| error.to_string())?;
    read(namespace, connection.call::<Namespace>(Call::Namespace, request).await)
}

fn read(namespace: &str, answer: Result<Namespace, ApiError>) -> Result<Option<Meta>, String> {
    match answer {
        Ok(Namespace { metadata }) if metadata.name == namespace && !metadata.uid.is_empty() => Ok(Some(metadata)),
        Ok(_) => Err("the answer is about something else".into()),
        Err(ApiError::Refused(status)) if says_absent(&status, namespace) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether this is the API server's word that this namespace does not exist, and not somebody's "404" on the way to it.
fn says_absent(status: &Status, namespace: &str) -> bool {
    let about = status.details.as_ref().is_some_and(|about| about.kind == Namespace::NAME && about.name == namespace);
    status.code == 404 && status.reason == "NotFound" && about
}

impl Namespace {
    /// The kind in the details of a status.
    const NAME: &'static str = "namespaces";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(text: &str) -> NamespaceUid {
        NamespaceUid(text.into())
    }

    fn found(name: &str, uid: &str) -> Result<Namespace, ApiError> {
        let metadata = Meta { name: name.into(), uid: uid.into(), deleting: true, ..Meta::default() };
        Ok(Namespace { metadata })
    }

    fn refused(text: &str) -> Result<Namespace, ApiError> {
        Err(ApiError::Refused(serde_json::from_str::<Status>(text).unwrap().boxed()))
    }

    fn proof(answer: Result<Namespace, ApiError>) -> Result<Proof, NoProof> {
        judge("shop", &uid("1"), read("shop", answer))
    }

    #[test]
    fn only_the_api_servers_own_words_are_proof() {
        let not_found = r#"{"code":404,"reason":"NotFound","details":{"kind":"namespaces","name":"shop"}}"#;
        let gone = proof(refused(not_found)).unwrap();
        assert_eq!((gone.namespace(), gone.gone(), gone.successor()), ("shop", &uid("1"), None));
        let replaced = proof(found("shop", "2")).unwrap();
        assert_eq!(replaced.successor(), Some(&uid("2")));
        assert_eq!(proof(found("shop", "1")), Err(NoProof::Present), "also while it is being deleted");
        for unproven in [
            found("other", "2"),
            found("shop", ""),
            refused(r#"{"code":404}"#),
            refused(r#"{"code":404,"reason":"NotFound"}"#),
            refused(r#"{"code":404,"reason":"NotFound","details":{"kind":"namespaces","name":"other"}}"#),
            refused(r#"{"code":404,"reason":"NotFound","details":{"kind":"pods","name":"shop"}}"#),
            refused(r#"{"code":403,"reason":"Forbidden","details":{"kind":"namespaces","name":"shop"}}"#),
            refused(r#"{"code":410,"reason":"NotFound","details":{"kind":"namespaces","name":"shop"}}"#),
            Err(ApiError::unavailable("refused")),
        ] {
            let text = format!("{unproven:?}");
            assert!(matches!(proof(unproven), Err(NoProof::Unknown(_))), "{text}");
        }
        let nameless = judge("shop", &uid(""), Ok(None));
        assert!(matches!(nameless, Err(NoProof::Unknown(_))));
    }
}
