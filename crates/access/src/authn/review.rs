//! Who vouches for tokens that we did not issue.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// What the cluster says about a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reviewed {
    /// User name, such as `system:serviceaccount:shop:ci`.
    pub user: String,
    /// UID of the user; may be empty.
    pub uid: String,
    /// Groups, `system:authenticated` among them.
    pub groups: Vec<String>,
    /// What else the authenticator knows about the user.
    pub extra: BTreeMap<String, Vec<String>>,
    /// When the token ends by its own word, in seconds since the Unix epoch; `None` when it does not say.
    pub expires: Option<i64>,
}

/// Why nobody vouches for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReviewError {
    /// The token proves nothing: wrong, ended, revoked or meant for somebody else. The reason is for the log.
    Rejected(String),
    /// There are too many questions at once; the cluster was not asked. What is remembered does not become good by that.
    Busy {
        /// When another try makes sense.
        retry_after: Duration,
    },
    /// The cluster does not answer. The reason is for the log.
    Unavailable {
        /// What happened.
        reason: String,
        /// When another try makes sense.
        retry_after: Duration,
    },
}

/// The wait for a review.
pub type Reviewing<'a> = Pin<Box<dyn Future<Output = Result<Reviewed, ReviewError>> + Send + 'a>>;

/// Asks the cluster about tokens, each time anew.
pub trait TokenReviewer: Send + Sync {
    /// Asks about one token. Ends by itself after a bounded time. `known` says that the token was accepted before: such
    /// questions do not wait behind those about tokens that anybody can make up.
    fn review<'a>(&'a self, token: &'a str, known: bool) -> Reviewing<'a>;
}
