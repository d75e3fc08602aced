//! What a driver for buckets needs from a service, whichever it is.

use futures_util::future::BoxFuture;
use object_store::list::PaginatedListStore;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{ObjectStore, Result};
use std::time::{Duration, SystemTime};

/// A large object that was begun and not ended.
#[derive(Debug)]
pub(crate) struct Unfinished {
    pub(crate) path: Path,
    pub(crate) id: String,
    pub(crate) begun: SystemTime,
}

/// A service. [`ObjectStore`] and its companions do most; the rest is here.
pub(crate) trait Bucket: Send + Sync + 'static {
    /// Objects.
    fn objects(&self) -> &dyn ObjectStore;

    /// Large objects.
    fn parts(&self) -> &dyn MultipartStore;

    /// Lists.
    fn lists(&self) -> &dyn PaginatedListStore;

    /// A list may be that of a moment ago.
    fn lists_may_lag(&self) -> bool {
        false
    }

    /// So much time between two writes to one object.
    fn writes_apart(&self) -> Duration {
        Duration::ZERO
    }

    /// Removes one object; a missing one is fine.
    fn delete<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<()>>;

    /// Removes one object if it still has the content that `mark` was read of. A service that has no such condition removes
    /// it in any case, or says that it does not know the request.
    fn delete_same<'a>(&'a self, path: &'a Path, mark: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Copies an object of any size within the service, over what may be there.
    fn copy<'a>(&'a self, from: &'a Path, to: &'a Path, size: u64) -> BoxFuture<'a, Result<()>>;

    /// Some of the large objects below a prefix of keys that were begun and not ended.
    fn unfinished<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Unfinished>>>;

    /// An address by which somebody without credentials can read the object for a while; `None`: there are none.
    fn signed<'a>(&'a self, path: &'a Path, ttl: Duration) -> BoxFuture<'a, Result<Option<String>>>;

    /// Class that objects are stored in.
    fn storage_class(&self) -> Option<&str>;
}
