//! What the answers of the Kubernetes API mean to controllers.

use kube::Error;

/// The API server itself says that the object does not exist. A 404 of something in between (a proxy, a wrong address) is
/// no such word; kube's own `is_not_found` takes it for one.
pub(crate) fn says_absent(error: &Error, resource: &str, name: &str) -> bool {
    let Error::Api(status) = error else { return false };
    let about = status.details.as_ref().is_some_and(|about| about.kind == resource && about.name == name);
    status.code == 404 && status.reason == "NotFound" && about
}

/// Somebody else changed the object meanwhile.
pub(crate) fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 409)
}

/// Why the API server will not do it, now or later; `None` if it could not be asked or is overloaded.
pub(crate) fn refusal(error: &Error) -> Option<&str> {
    match error {
        Error::Api(status) if (400..500).contains(&status.code) && status.code != 429 => Some(&status.message),
        _ => None,
    }
}

/// For the log. Never quotes an answer that was not understood: it may be a token.
pub(crate) fn describe(error: &Error) -> String {
    match error {
        Error::Api(status) => format!("{} ({})", status.message, status.code),
        Error::SerdeError(_) | Error::FromUtf8(_) => "the answer cannot be read".to_owned(),
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
    use serde_json::json;

    fn not_found(kind: &str, name: &str) -> Status {
        let details: StatusDetails = serde_json::from_value(json!({ "name": name, "kind": kind })).unwrap();
        Status::failure("not found", "NotFound").with_code(404).with_details(details)
    }

    fn error(status: Status) -> Error {
        Error::Api(status.boxed())
    }

    #[test]
    fn only_the_api_server_says_that_something_is_absent() {
        assert!(says_absent(&error(not_found("namespaces", "shop")), "namespaces", "shop"));
        let others = [
            not_found("namespaces", "other"),
            not_found("pods", "shop"),
            not_found("namespaces", "shop").with_code(410),
            // How kube hands on the page of a proxy.
            Status::failure("404 page not found", "Failed to parse error data").with_code(404),
            Status::failure("not found", "NotFound").with_code(404),
            Status::failure("no", "Forbidden").with_code(403),
        ];
        for other in others {
            assert!(!says_absent(&error(other.clone()), "namespaces", "shop"), "{other:?}");
        }
    }

    #[test]
    fn answers_that_are_not_understood_are_not_quoted() {
        let parsed = serde_json::from_str::<u8>("\"the-token\"").unwrap_err();
        assert!(parsed.to_string().contains("the-token"));
        assert!(!describe(&Error::SerdeError(parsed)).contains("the-token"));
    }
}
