//! Rights of a cluster whose rules cannot be watched: the API server is asked each time.

mod impersonate;
mod rules;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use access::{Caller, Reply, Resource, Right, Rights, Verdict};
use serde::{Deserialize, Serialize};

use crate::call::{ApiError, RETRY_AFTER_DEFAULT, post};
use crate::connect::Connection;
use crate::counters::Call;
use crate::memory::{Memory, Size, Turns};
use crate::reach::Rarely;
use crate::subject::Attributes;
use crate::subject_access::{self, Asked, Question};
use impersonate::impersonate;
use rules::{Listed, RuleSet};

const RULES_PATH: &str = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
/// For how long an answer is believed.
const ANSWER_TTL: Duration = Duration::from_secs(1);
/// Between two complaints about missing rights of our own.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(60);
/// Answers of each kind that are remembered, about.
const ANSWERS_MAX: usize = 4_096;
/// The bytes of all answers of a kind.
const ANSWERS_BYTES_MAX: usize = 32 * 1024 * 1024;

/// An answer, or when to ask again.
type Answer<T> = Result<T, Duration>;

/// Rights by `SubjectAccessReview`; patterns by `SelfSubjectRulesReview` in the name of the caller, which needs the right to
/// impersonate.
pub struct RightsReview(Arc<Inner>);

struct Inner {
    connection: Connection,
    stale_for: Duration,
    turns: Turns,
    complaints: Rarely,
    accesses: Memory<Answer<bool>>,
    rules: Memory<Answer<Arc<RuleSet>>>,
}

#[derive(Serialize)]
struct RulesSpec<'a> {
    namespace: &'a str,
}

#[derive(Deserialize)]
struct RulesAnswer {
    #[serde(default)]
    status: Listed,
}

impl RightsReview {
    /// Asks through this connection. While the API server is away, what it granted is good for `stale_for`.
    #[must_use]
    pub fn new(connection: &Connection, stale_for: Duration) -> Arc<Self> {
        let clock = || Arc::clone(connection.clock());
        Arc::new(Self(Arc::new(Inner {
            connection: connection.clone(),
            stale_for,
            turns: Turns::new(),
            complaints: Rarely::new(COMPLAINT_PAUSE),
            accesses: Memory::new(clock(), ANSWER_TTL, size(|_| 0), Result::is_ok),
            rules: Memory::new(
                clock(),
                ANSWER_TTL,
                size(|rules| rules.as_ref().map_or(0, |rules| rules.bytes())),
                Result::is_ok,
            ),
        })))
    }
}

impl Rights for RightsReview {
    fn check<'a>(&'a self, caller: &'a Caller, right: Right<'a>) -> Reply<'a, Verdict> {
        Reply::pending(async move {
            match self.0.granted(caller, right).await {
                Ok(true) => Verdict::Granted,
                Ok(false) => Verdict::NotGranted,
                Err(retry_after) => Verdict::Unavailable { retry_after },
            }
        })
    }
}

impl Inner {
    async fn granted(self: &Arc<Self>, caller: &Caller, right: Right<'_>) -> Answer<bool> {
        if let (Resource::RepositoryAccesses, Some(namespace), Some(_)) = (right.resource, right.namespace, right.name)
            && !caller.is_anonymous()
        {
            let (rules, is_fresh) = self.rules_of(caller, namespace).await?;
            if rules.grant(right) {
                return Ok(true);
            }
            if !rules.incomplete {
                return is_fresh.map(|()| false);
            }
            // Somebody whose rules cannot be listed has a say: asked for this very name below.
        }
        for group in right.resource.groups() {
            if self.access(caller, right, group).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn access(self: &Arc<Self>, caller: &Caller, right: Right<'_>, group: &'static str) -> Answer<bool> {
        let (resource, subresource) = right.resource.as_str().split_once('/').unwrap_or((right.resource.as_str(), ""));
        let resource = Asked::ResourceAttributes {
            namespace: right.namespace.unwrap_or_default(),
            verb: right.verb.as_str(),
            group,
            resource,
            subresource,
            name: right.name.unwrap_or_default(),
        };
        // The question is its own name: callers that differ in anything have different answers.
        let Ok(key) = subject_access::question(caller, resource) else { return Err(RETRY_AFTER_DEFAULT) };
        let ask = || {
            let (inner, body) = (Arc::clone(self), key.clone());
            async move {
                let Some(_turn) = inner.turns.take().await else { return Err(RETRY_AFTER_DEFAULT) };
                let answer = subject_access::ask(&inner.connection, Call::AccessReview, body).await;
                answer.map_err(|error| inner.complain(&error))
            }
        };
        let answer = self.accesses.ask(&key, ask).await;
        match &answer {
            Err(_) if self.last(&self.accesses, &key) == Some(Ok(true)) => Ok(true),
            _ => answer,
        }
    }

    /// The rules; also old ones while the API server is away. Those are good for a yes, the error stands for their no.
    async fn rules_of(self: &Arc<Self>, caller: &Caller, namespace: &str) -> Answer<(Arc<RuleSet>, Answer<()>)> {
        let Ok(mut key) = serde_json::to_string(&Attributes::of(caller)) else { return Err(RETRY_AFTER_DEFAULT) };
        let _ = write!(key, "\n{namespace}");
        let ask = || {
            let (inner, caller, namespace) = (Arc::clone(self), caller.clone(), namespace.to_owned());
            async move {
                let Some(_turn) = inner.turns.take().await else { return Err(RETRY_AFTER_DEFAULT) };
                let question = Question::new("SelfSubjectRulesReview", RulesSpec { namespace: &namespace });
                let request = post(RULES_PATH, &question).and_then(|request| impersonate(request, &caller));
                match inner.ask::<RulesAnswer>(Call::RulesReview, request).await {
                    Ok(answer) => Ok(Arc::new(answer.status.into())),
                    // The caller may not list its own rules; ask about each name instead.
                    Err(ApiError::Refused(status)) if about_rules(&status) => Ok(Arc::new(RuleSet::unlisted())),
                    Err(error) => Err(inner.complain(&error)),
                }
            }
        };
        match self.rules.ask(&key, ask).await {
            Ok(rules) => Ok((rules, Ok(()))),
            Err(retry_after) => match self.last(&self.rules, &key) {
                Some(Ok(rules)) => Ok((rules, Err(retry_after))),
                _ => Err(retry_after),
            },
        }
    }

    /// What was answered last, if that is still good because nobody can be asked.
    fn last<V: Clone + Send + Sync + 'static>(&self, memory: &Memory<V>, key: &str) -> Option<V> {
        self.connection.reach().is_away().then(|| memory.last(key, self.stale_for)).flatten()
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        call: Call,
        request: Result<http::Request<Vec<u8>>, ApiError>,
    ) -> Result<T, ApiError> {
        if self.connection.reach().is_away() {
            return Err(ApiError::unavailable("API server is away"));
        }
        self.connection.call(call, request?).await
    }
}

impl Inner {
    /// Tells the log, and when to ask again.
    fn complain(&self, error: &ApiError) -> Duration {
        let loud = matches!(error, ApiError::Refused(_));
        if loud && self.complaints.now(self.connection.clock().elapsed()) {
            let hint = "the registry's own service account needs the rights to create subjectaccessreviews (ClusterRole \
                        system:auth-delegator) and to impersonate users, groups, uids and userextras";
            tracing::error!(%error, hint, "rights cannot be reviewed");
        } else {
            tracing::debug!(%error, "rights cannot be reviewed");
        }
        error.retry_after()
    }
}

fn size<V>(weigh: fn(&V) -> usize) -> Size<V> {
    Size { entries: ANSWERS_MAX, bytes: ANSWERS_BYTES_MAX, weigh }
}

fn about_rules(status: &kube::core::Status) -> bool {
    let kind = status.details.as_ref().map(|details| details.kind.as_str());
    status.code == 403 && kind == Some("selfsubjectrulesreviews")
}
