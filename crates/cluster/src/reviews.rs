//! Whose token is this? Asked of the API server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use access::{ReviewError, Reviewed, Reviewing, TokenReviewer};
use serde::{Deserialize, Serialize};

use crate::call::{ApiError, post};
use crate::connect::Connection;
use crate::counters::Call;
use crate::memory::Turns;
use crate::reach::Rarely;

const PATH: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
/// When to come back if there was no turn.
const BUSY_RETRY: Duration = Duration::from_secs(2);
/// Between two complaints about missing rights of our own.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(60);

/// Asks by `TokenReview`, anew for each token; see `access::ClusterTokens` for the memory.
pub struct TokenReviews {
    connection: Connection,
    audiences: Vec<String>,
    turns: Turns,
    /// For tokens that were accepted before; only those who have one can wait here.
    turns_of_known: Turns,
    complaints: Rarely,
}

#[derive(Serialize)]
struct Question<'a> {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    kind: &'static str,
    spec: Spec<'a>,
}

#[derive(Serialize)]
struct Spec<'a> {
    token: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    audiences: &'a [String],
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    authenticated: bool,
    user: User,
    audiences: Option<Vec<String>>,
    error: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct User {
    username: String,
    uid: String,
    groups: Option<Vec<String>>,
    extra: Option<BTreeMap<String, Option<Vec<String>>>>,
}

impl TokenReviews {
    /// `audiences` are the ones that a token must be meant for, any of them; none stands for the API server's own.
    #[must_use]
    pub fn new(connection: &Connection, audiences: Vec<String>) -> Arc<Self> {
        Arc::new(Self {
            connection: connection.clone(),
            audiences,
            turns: Turns::new(),
            turns_of_known: Turns::new(),
            complaints: Rarely::new(COMPLAINT_PAUSE),
        })
    }

    async fn ask(&self, token: &str, known: bool) -> Result<Reviewed, ReviewError> {
        if self.connection.reach().is_away() {
            return Err(unavailable("API server is away".into(), None));
        }
        let turns = if known { &self.turns_of_known } else { &self.turns };
        let Some(_turn) = turns.take().await else { return Err(ReviewError::Busy { retry_after: BUSY_RETRY }) };
        let spec = Spec { token, audiences: &self.audiences };
        let question = Question { api_version: "authentication.k8s.io/v1", kind: "TokenReview", spec };
        let answer = match post(PATH, &question) {
            Ok(request) => self.connection.call::<Answer>(Call::TokenReview, request).await,
            Err(error) => Err(error),
        };
        answer.map_err(|error| self.failure(error)).and_then(|answer| judge(answer.status, &self.audiences))
    }

    fn failure(&self, error: ApiError) -> ReviewError {
        match error {
            ApiError::Refused(status) if matches!(status.code, 400 | 422) => {
                ReviewError::Rejected(format!("API server refuses to review it: {}", status.message))
            }
            ApiError::Refused(status) => {
                self.complain(status.code, &status.message);
                unavailable(format!("API server refuses with {}: {}", status.code, status.message), None)
            }
            ApiError::Busy { retry_after, .. } => ReviewError::Busy { retry_after },
            ApiError::Unavailable { reason, retry_after } => unavailable(reason, Some(retry_after)),
            ApiError::TooLong { .. } => unavailable(error.to_string(), None),
        }
    }

    fn complain(&self, code: u16, message: &str) {
        if self.complaints.now(self.connection.clock().elapsed()) {
            let hint = "the registry's own service account may not create tokenreviews; bind it to the ClusterRole \
                        system:auth-delegator";
            tracing::error!(code, message, hint, "nobody can log in with a token of the cluster");
        }
    }
}

fn unavailable(reason: String, retry_after: Option<Duration>) -> ReviewError {
    let retry_after = retry_after.unwrap_or(crate::call::RETRY_AFTER_DEFAULT);
    ReviewError::Unavailable { reason, retry_after }
}

fn judge(status: Status, audiences: &[String]) -> Result<Reviewed, ReviewError> {
    let Status { authenticated, user, audiences: meant_for, error } = status;
    if !authenticated {
        let reason = if error.is_empty() { "not authenticated".into() } else { error };
        return Err(ReviewError::Rejected(reason));
    }
    // An authenticator that knows no audiences leaves them out, and its word is then good for the API server only.
    let meant_for = meant_for.unwrap_or_default();
    if !audiences.is_empty() && !meant_for.iter().any(|audience| audiences.contains(audience)) {
        return Err(ReviewError::Rejected(format!("meant for {meant_for:?}")));
    }
    if user.username.is_empty() {
        return Err(ReviewError::Rejected("user without a name".into()));
    }
    Ok(Reviewed {
        user: user.username,
        uid: user.uid,
        groups: user.groups.unwrap_or_default(),
        extra: user.extra.into_iter().flatten().map(|(key, values)| (key, values.unwrap_or_default())).collect(),
        // The token says so itself.
        expires: None,
    })
}

impl TokenReviewer for TokenReviews {
    fn review<'a>(&'a self, token: &'a str, known: bool) -> Reviewing<'a> {
        Box::pin(self.ask(token, known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::AT_ONCE;
    use crate::testing::Server;

    #[tokio::test]
    async fn a_busy_server_is_not_an_absent_one() {
        let server = Server::start(|_, _| Some((429, String::new()))).await;
        let reviews = TokenReviews::new(&server.connection, Vec::new());
        let busy = ReviewError::Busy { retry_after: Duration::from_secs(7) };
        assert_eq!(reviews.review("a.b.c", false).await, Err(busy));
        server.go_away();
        assert!(matches!(reviews.review("a.b.c", false).await, Err(ReviewError::Unavailable { .. })));
    }

    #[tokio::test]
    async fn made_up_tokens_do_not_keep_known_callers_waiting() {
        let server = Server::start(|_, body| {
            let known =
                body.contains("known").then_some(r#"{"status":{"authenticated":true,"user":{"username":"u"}}}"#);
            known.map(|text| (201, text.to_owned()))
        })
        .await;
        let reviews = TokenReviews::new(&server.connection, Vec::new());
        let flood: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let reviews = Arc::clone(&reviews);
                tokio::spawn(async move { reviews.review("made.up", false).await })
            })
            .collect();
        server.until("a full house", |asked| asked.len() == AT_ONCE).await;
        let (stranger, known) = tokio::join!(reviews.review("made.up", false), reviews.review("known", true));
        assert_eq!(stranger, Err(ReviewError::Busy { retry_after: BUSY_RETRY }));
        assert_eq!(known.unwrap().user, "u");
        flood.iter().for_each(tokio::task::JoinHandle::abort);
    }

    fn judged(status: &str, audiences: &[&str]) -> Result<Reviewed, ReviewError> {
        let audiences: Vec<_> = audiences.iter().map(|text| (*text).to_owned()).collect();
        let answer: Answer = serde_json::from_str(&format!(r#"{{"kind":"TokenReview","status":{status}}}"#)).unwrap();
        judge(answer.status, &audiences)
    }

    #[test]
    fn who_is_authenticated() {
        let status = r#"{"authenticated":true,"user":{"username":"u","uid":"7","groups":["g"],
            "extra":{"a/b":["1","2"],"c":null}},"audiences":["registry","api"]}"#;
        let reviewed = judged(status, &["registry"]).unwrap();
        assert_eq!((reviewed.user.as_str(), reviewed.uid.as_str(), reviewed.groups), ("u", "7", vec!["g".to_owned()]));
        assert_eq!(reviewed.extra["a/b"], ["1", "2"]);
        assert!(judged(status, &[]).is_ok());
        assert!(judged(r#"{"authenticated":true,"user":{"username":"u","groups":null}}"#, &[]).is_ok());
    }

    #[test]
    fn who_is_not() {
        for (status, audiences) in [
            (r#"{"user":{}}"#, &[][..]),
            (r#"{"authenticated":false,"error":"expired"}"#, &[]),
            (r#"{"authenticated":false,"user":{"username":"u"}}"#, &[]),
            (r#"{"authenticated":true,"user":{"username":""}}"#, &[]),
            (r#"{"authenticated":true}"#, &[]),
            (r#"{"authenticated":true,"user":{"username":"u"}}"#, &["registry"]),
            (r#"{"authenticated":true,"user":{"username":"u"},"audiences":null}"#, &["registry"]),
            (r#"{"authenticated":true,"user":{"username":"u"},"audiences":["api"]}"#, &["registry"]),
        ] {
            assert!(matches!(judged(status, audiences), Err(ReviewError::Rejected(_))), "{status}");
        }
    }

    #[test]
    fn the_question_names_audiences_only_if_there_are_some() {
        let text = |audiences: &[String]| serde_json::to_string(&Spec { token: "t", audiences }).unwrap();
        assert_eq!(text(&[]), r#"{"token":"t"}"#);
        assert_eq!(text(&["a".into()]), r#"{"token":"t","audiences":["a"]}"#);
    }
}
