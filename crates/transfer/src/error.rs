//! Why a copy ends early.

/// Result of a step.
pub type Result<T> = std::result::Result<T, Error>;

/// A copy that was not begun, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source is not what the caller believes, or there is nothing to do.
    #[error("nothing of a registry is stored in {0}: check its storage settings, and that the volume is mounted")]
    NothingThere(String),
    /// What is written to one appears at the other.
    #[error("source and destination are the same place")]
    SamePlace,
    /// The destination has content of which nobody has said that it is a copy.
    #[error(
        "the destination holds images already, and they are no unfinished copy, or a registry has written there since: \
         choose an empty place, or say --into-existing to add to what is there"
    )]
    NotEmpty,
    /// The destination is a copy of something else.
    #[error("the destination is a copy of {0}: choose an empty place, or say --into-existing to add to what is there")]
    OtherSource(String),
    /// Removing what the source does not have would remove what was there before.
    #[error("--delete would remove what the destination had before, since it was not empty: copy without it")]
    MixedDelete,
    /// The mark of this run is no longer at the destination.
    #[error(
        "the destination belongs to somebody else now: a registry that may write was started on it, or another copy; \
         nothing more was changed"
    )]
    TakenOver,
    /// A namespace of the destination is another one than that of the source, and what it has is not the copy's to remove.
    #[error(
        "the namespace {0} has another owner at the destination, which was not empty before: remove its images and its record \
         there, or choose an empty place"
    )]
    OtherOwner(String),
    /// The same for a whole cluster.
    #[error("the destination, which was not empty before, belongs to another cluster: choose an empty place")]
    OtherCluster,
    /// Everything would be removed.
    #[error(
        "--delete would remove all repositories, since the source has none: check its storage settings, and that the volume is \
         mounted"
    )]
    NoRepositories,
    /// A driver failed.
    #[error("{side}: {error}: {}; another run goes on from here", error.source)]
    Storage {
        /// Source or destination.
        side: &'static str,
        /// What happened.
        error: storage::Error,
    },
    /// A task ended by itself.
    #[error("a task of the copy has ended by itself, which is a defect of homeport")]
    Task(#[source] tokio::task::JoinError),
}
