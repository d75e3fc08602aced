//! Our keys as the bucket has them.

use crate::handle::UPLOADS;
use crate::open::OpenError;
use object_store::path::Path;
use storage::{Error, ErrorKind, Result, check_key};

/// Everything of ours is below one prefix of the bucket, perhaps the empty one.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// Empty, or with a slash at the end and none at the start.
    root: String,
}

impl Keys {
    pub(crate) fn new(root_directory: &str) -> Self {
        let trimmed = root_directory.trim_matches('/');
        Self { root: if trimmed.is_empty() { String::new() } else { format!("{trimmed}/") } }
    }

    /// The same for a folder that somebody has written into `setting`.
    pub(crate) fn checked(setting: &'static str, root_directory: &str) -> std::result::Result<Self, OpenError> {
        let keys = Self::new(root_directory);
        let unusable = |_| OpenError::new(setting, "not a path that names can begin with: correct it", "");
        keys.path("a").map(|_| keys).map_err(unusable)
    }

    /// Where the object is.
    pub(crate) fn path(&self, key: &str) -> Result<Path> {
        check_key(key)?;
        let invalid = |_| Error::new(ErrorKind::InvalidKey, "check", key, "not a key that a bucket can hold");
        Path::parse(format!("{}{key}", self.root)).map_err(invalid)
    }

    /// What all keys below `prefix` begin with; the empty prefix is everything of ours.
    pub(crate) fn below(&self, prefix: &str) -> Result<String> {
        if prefix.is_empty() {
            return Ok(self.root.clone());
        }
        check_key(prefix)?;
        Ok(format!("{}{prefix}/", self.root))
    }

    /// What names in the place of unfinished uploads begin with.
    pub(crate) fn uploads(&self) -> String {
        format!("{}{UPLOADS}/", self.root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_directory_is_written_in_many_ways() {
        for (root, expected) in [("", "a/b"), ("/", "a/b"), ("x", "x/a/b"), ("/s3/object/", "s3/object/a/b")] {
            let keys = Keys::new(root);
            assert_eq!(keys.path("a/b").unwrap().as_ref(), expected);
            assert_eq!(keys.below("a/b").unwrap(), format!("{expected}/"));
        }
        assert_eq!(Keys::new("/x/").below("").unwrap(), "x/");
        for bad in ["", "/a", "a//b", "..", "a\nb"] {
            assert_eq!(Keys::new("x").path(bad).unwrap_err().kind, ErrorKind::InvalidKey, "{bad:?}");
        }
    }
}
