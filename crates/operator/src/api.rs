//! What the answers of the Kubernetes API mean to controllers.

use cluster::{ApiError, Call, Connection};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{Method, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Asks for the metadata of an object alone.
const METADATA: HeaderValue = HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");

/// The same request, to be answered with metadata alone.
pub(crate) fn metadata_only(mut request: Request<Vec<u8>>) -> Request<Vec<u8>> {
    request.headers_mut().insert(ACCEPT, METADATA);
    request
}

/// A request that deletes an object.
pub(crate) fn delete(path: &str, options: &impl Serialize) -> Result<Request<Vec<u8>>, ApiError> {
    let mut request = cluster::post(path, options)?;
    *request.method_mut() = Method::DELETE;
    Ok(request)
}

/// A request that applies some fields of an object, as their holder.
pub(crate) fn apply(path: &str, manager: &str, fields: &impl Serialize) -> Result<Request<Vec<u8>>, ApiError> {
    let mut request = cluster::post(&format!("{path}?fieldManager={manager}&force=true"), fields)?;
    *request.method_mut() = Method::PATCH;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/apply-patch+yaml"));
    Ok(request)
}

/// Reads an object; `None`: there is none.
pub(crate) async fn find<T: DeserializeOwned>(
    connection: &Connection,
    call: Call,
    path: &str,
) -> Result<Option<T>, ApiError> {
    match connection.call(call, cluster::get(path)?).await {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.code() == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The API server itself says that the object does not exist. A 404 of something in between (a proxy, a wrong address) is
/// no such word.
pub(crate) fn says_absent(error: &ApiError, resource: &str, name: &str) -> bool {
    let ApiError::Refused(status) = error else { return false };
    let about = status.details.as_ref().is_some_and(|about| about.kind == resource && about.name == name);
    status.code == 404 && status.reason == "NotFound" && about
}

/// Nothing can be made in the namespace any more: it is being deleted, which does not turn back.
pub(crate) fn says_namespace_ends(error: &ApiError) -> bool {
    let ApiError::Refused(status) = error else { return false };
    let causes = status.details.iter().flat_map(|about| &about.causes);
    status.code == 403 && causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// Somebody else changed the object meanwhile.
pub(crate) fn is_conflict(error: &ApiError) -> bool {
    error.code() == Some(409)
}

/// Why the API server will not do it, now or later; `None` if it could not be asked or is overloaded.
pub(crate) fn refusal(error: &ApiError) -> Option<&str> {
    match error {
        ApiError::Refused(status) => Some(&status.message),
        ApiError::Unavailable { .. } | ApiError::Busy { .. } | ApiError::TooLong { .. } => None,
    }
}

/// An error of a watch, for the log. Never quotes an answer that was not understood: it may be a token.
pub(crate) fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => "the answer cannot be read".to_owned(),
        other => {
            let mut text = other.to_string();
            let mut source = std::error::Error::source(other);
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;
    use kube::core::response::StatusDetails;
    use serde_json::{Value, json};

    fn status(code: u16, reason: &str, details: Value) -> ApiError {
        let details: StatusDetails = serde_json::from_value(details).unwrap();
        ApiError::Refused(Status::failure("no", reason).with_code(code).with_details(details).boxed())
    }

    #[test]
    fn only_the_api_server_says_that_something_is_absent() {
        let about = |kind: &str, name: &str| json!({"name": name, "kind": kind});
        assert!(says_absent(&status(404, "NotFound", about("namespaces", "shop")), "namespaces", "shop"));
        let others = [
            status(404, "NotFound", about("namespaces", "other")),
            status(404, "NotFound", about("pods", "shop")),
            status(410, "NotFound", about("namespaces", "shop")),
            status(403, "Forbidden", about("namespaces", "shop")),
            // The page of a proxy.
            ApiError::Refused(Status::failure("", "").with_code(404).boxed()),
            ApiError::Refused(Status::failure("not found", "NotFound").with_code(404).boxed()),
        ];
        for other in others {
            assert!(!says_absent(&other, "namespaces", "shop"), "{other:?}");
        }
    }

    #[test]
    fn the_end_of_a_namespace_is_no_other_refusal() {
        // As the API server answers to a TokenRequest.
        let (reason, message) = ("NamespaceTerminating", "namespace shop is being terminated");
        let cause = json!({"reason": reason, "message": message, "field": "metadata.namespace"});
        let ends = json!({"name": "ci", "kind": "serviceaccounts", "causes": [cause]});
        assert!(says_namespace_ends(&status(403, "Forbidden", ends.clone())));
        for other in [
            status(404, "NotFound", ends),
            status(403, "Forbidden", json!({"name": "ci", "kind": "serviceaccounts"})),
            status(403, "Forbidden", json!({"causes": [{"reason": "FieldValueInvalid", "message": "", "field": ""}]})),
            ApiError::Refused(Status::failure("no", "Forbidden").with_code(403).boxed()),
        ] {
            assert!(!says_namespace_ends(&other), "{other:?}");
        }
    }

    #[test]
    fn requests_are_what_the_api_server_expects() {
        let request = apply("/apis/a", "me", &json!({"a": 1})).unwrap();
        assert_eq!(
            (request.method().as_str(), request.uri().to_string().as_str()),
            ("PATCH", "/apis/a?fieldManager=me&force=true")
        );
        assert_eq!(request.headers()[CONTENT_TYPE], "application/apply-patch+yaml");
        let request = metadata_only(delete("/api/v1/a", &json!({})).unwrap());
        assert_eq!((request.method().as_str(), request.body().as_slice()), ("DELETE", &b"{}"[..]));
        assert!(request.headers()[ACCEPT].to_str().unwrap().contains("as=PartialObjectMetadata"));
    }

    #[test]
    fn answers_that_are_not_understood_are_not_quoted() {
        let parsed = serde_json::from_str::<u8>("\"the-token\"").unwrap_err();
        assert!(parsed.to_string().contains("the-token"));
        assert!(!describe(&kube::Error::SerdeError(parsed)).contains("the-token"));
    }
}
