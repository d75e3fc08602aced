//! Paths that are no objects: who may see them, the API server says.

use std::sync::Arc;
use std::time::Duration;

use access::{Caller, Reply, Source};
use thiserror::Error;

use crate::call::{ApiError, RETRY_AFTER_DEFAULT};
use crate::connect::Connection;
use crate::counters::Call;
use crate::memory::{Memory, Size, Turns};
use crate::reach::Rarely;
use crate::subject_access::{self, Asked};

/// Whoever is in it may do everything, as in the API server.
const MASTERS: &str = "system:masters";
/// For how long an answer is believed, as aggregated API servers do.
const ANSWER_TTL: Duration = Duration::from_secs(10);
/// Answers that are remembered, about.
const ANSWERS_MAX: usize = 4_096;
/// The bytes of all of them; each holds the whole caller.
const ANSWERS_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Of a path; nobody has granted a longer one.
const PATH_BYTES_MAX: usize = 1_024;
/// Between two complaints about missing rights of our own.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(60);

type Answer = Result<bool, Unavailable>;

/// Nobody can say now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("rights cannot be reviewed now")]
pub struct Unavailable {
    /// When to ask again.
    pub retry_after: Duration,
}

/// Decides over paths by `SubjectAccessReview` with `nonResourceAttributes`.
pub struct PathReviews {
    asking: Arc<Asking>,
    answers: Memory<Answer>,
}

struct Asking {
    connection: Connection,
    turns: Turns,
    complaints: Rarely,
}

impl PathReviews {
    /// Asks through this connection.
    #[must_use]
    pub fn new(connection: &Connection) -> Arc<Self> {
        let size = Size { entries: ANSWERS_MAX, bytes: ANSWERS_BYTES_MAX, weigh: |_| 0 };
        Arc::new(Self {
            asking: Arc::new(Asking {
                connection: connection.clone(),
                turns: Turns::new(),
                complaints: Rarely::new(COMPLAINT_PAUSE),
            }),
            answers: Memory::new(Arc::clone(connection.clock()), ANSWER_TTL, size, Result::is_ok),
        })
    }

    /// Whether the caller may do this; `verb` is the method of the request in lower case.
    pub fn allowed(&self, caller: &Caller, path: &str, verb: &str) -> Reply<'static, Result<bool, Unavailable>> {
        // A user of another source could have a group of this name.
        if caller.source() == Source::Cluster && caller.groups().iter().any(|group| &**group == MASTERS) {
            return Reply::Ready(Ok(true));
        }
        if path.len() > PATH_BYTES_MAX {
            return Reply::Ready(Ok(false));
        }
        let Ok(question) = subject_access::question(caller, Asked::NonResourceAttributes { path, verb }) else {
            return Reply::Ready(Err(Unavailable { retry_after: RETRY_AFTER_DEFAULT }));
        };
        self.answers.ask(&question, || {
            let (asking, question) = (Arc::clone(&self.asking), question.clone());
            async move { asking.ask(question).await }
        })
    }
}

impl Asking {
    async fn ask(&self, question: String) -> Answer {
        let Some(_turn) = self.turns.take().await else {
            return Err(Unavailable { retry_after: RETRY_AFTER_DEFAULT });
        };
        let answer = subject_access::ask(&self.connection, Call::PathReview, question).await;
        answer.map_err(|error| self.complain(&error))
    }

    fn complain(&self, error: &ApiError) -> Unavailable {
        let loud = matches!(error, ApiError::Refused(_));
        if loud && self.complaints.now(self.connection.clock().elapsed()) {
            let hint = "the registry's own service account may not create subjectaccessreviews; bind it to the \
                        ClusterRole system:auth-delegator";
            tracing::error!(%error, hint, "rights to paths of the Kubernetes API cannot be reviewed");
        } else {
            tracing::debug!(%error, "rights to a path cannot be reviewed");
        }
        Unavailable { retry_after: error.retry_after() }
    }
}

#[cfg(test)]
mod tests;
