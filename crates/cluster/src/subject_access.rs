//! May somebody do something? As the API server is asked for it.

use access::Caller;
use http::Method;
use serde::{Deserialize, Serialize};

use crate::call::{ApiError, with_body};
use crate::connect::Connection;
use crate::counters::Call;
use crate::subject::Attributes;

const PATH: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

/// A review of the group `authorization.k8s.io`.
#[derive(Serialize)]
pub(crate) struct Question<S> {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    kind: &'static str,
    spec: S,
}

impl<S: Serialize> Question<S> {
    pub(crate) fn new(kind: &'static str, spec: S) -> Self {
        Self { api_version: "authorization.k8s.io/v1", kind, spec }
    }
}

/// What somebody wants to do.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Asked<'a> {
    /// With an object.
    ResourceAttributes {
        namespace: &'a str,
        verb: &'static str,
        group: &'static str,
        resource: &'static str,
        subresource: &'static str,
        name: &'a str,
    },
    /// With a path that is no object.
    NonResourceAttributes { path: &'a str, verb: &'a str },
}

#[derive(Serialize)]
struct Spec<'a> {
    #[serde(flatten)]
    caller: Attributes<'a>,
    #[serde(flatten)]
    asked: Asked<'a>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    allowed: bool,
    denied: bool,
}

/// The question as it is sent. Two callers that differ in anything have different ones.
pub(crate) fn question(caller: &Caller, asked: Asked<'_>) -> Result<String, serde_json::Error> {
    let spec = Spec { caller: Attributes::of(caller), asked };
    serde_json::to_string(&Question::new("SubjectAccessReview", spec))
}

/// The answer; nobody is asked while nobody is there.
pub(crate) async fn ask(connection: &Connection, call: Call, question: String) -> Result<bool, ApiError> {
    if connection.reach().is_away() {
        return Err(ApiError::unavailable("API server is away"));
    }
    let answer: Answer = connection.call(call, with_body(Method::POST, PATH, question.into_bytes())?).await?;
    Ok(answer.status.allowed && !answer.status.denied)
}
