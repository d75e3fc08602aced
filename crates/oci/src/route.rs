//! The paths of the distribution API. Repository names hold slashes, so the parts that we know are found from the end.

use crate::{Digest, DigestError, NameError, RepoName, Tag};

/// What a manifest is asked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference<'a> {
    /// A tag.
    Tag(Tag<'a>),
    /// A digest.
    Digest(Digest),
    /// Neither; nothing can be stored under it, so reading it answers "unknown" and writing it "invalid".
    Invalid(&'a str),
}

impl<'a> Reference<'a> {
    /// Reads a tag or a digest.
    #[must_use]
    pub fn parse(text: &'a str) -> Self {
        if text.contains(':') {
            return Digest::parse(text).map_or(Self::Invalid(text), Self::Digest);
        }
        Tag::parse(text).map_or(Self::Invalid(text), Self::Tag)
    }
}

/// One endpoint with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/tags/list`
    Tags(RepoName<'a>),
    /// `/v2/<name>/manifests/<reference>`
    Manifest(RepoName<'a>, Reference<'a>),
    /// `/v2/<name>/blobs/<digest>`
    Blob(RepoName<'a>, Digest),
    /// `/v2/<name>/blobs/uploads/`
    Uploads(RepoName<'a>),
    /// `/v2/<name>/blobs/uploads/<session>`
    Upload(RepoName<'a>, &'a str),
    /// `/v2/<name>/referrers/<digest>`
    Referrers(RepoName<'a>, Digest),
}

/// Why a path is no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Nothing has this shape.
    #[error("no such endpoint")]
    NotFound,
    /// The shape is right, the repository name is not.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The shape is right, the digest is not.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl<'a> Route<'a> {
    /// Parses a decoded path.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub fn parse(path: &'a str) -> Result<Self, RouteError> {
        let rest = match path.strip_prefix("/v2") {
            Some("" | "/") => return Ok(Self::Base),
            Some(rest) => rest.strip_prefix('/').ok_or(RouteError::NotFound)?,
            None => return Err(RouteError::NotFound),
        };
        if matches!(rest, "_catalog" | "_catalog/") {
            return Ok(Self::Catalog);
        }
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return Ok(Self::Tags(RepoName::parse(name)?));
        }
        if let Some(name) = rest.strip_suffix("/blobs/uploads/").or_else(|| rest.strip_suffix("/blobs/uploads")) {
            return Ok(Self::Uploads(RepoName::parse(name)?));
        }
        let (head, tail) = rest.rsplit_once('/').ok_or(RouteError::NotFound)?;
        if let Some(name) = head.strip_suffix("/manifests") {
            return Ok(Self::Manifest(RepoName::parse(name)?, Reference::parse(tail)));
        }
        if let Some(name) = head.strip_suffix("/blobs/uploads") {
            return Ok(Self::Upload(RepoName::parse(name)?, tail));
        }
        if let Some(name) = head.strip_suffix("/blobs") {
            return Ok(Self::Blob(RepoName::parse(name)?, Digest::parse(tail)?));
        }
        if let Some(name) = head.strip_suffix("/referrers") {
            return Ok(Self::Referrers(RepoName::parse(name)?, Digest::parse(tail)?));
        }
        Err(RouteError::NotFound)
    }

    /// The repository, where the endpoint has one.
    #[must_use]
    pub fn repository(&self) -> Option<RepoName<'a>> {
        match self {
            Self::Base | Self::Catalog => None,
            Self::Tags(name)
            | Self::Manifest(name, _)
            | Self::Blob(name, _)
            | Self::Uploads(name)
            | Self::Upload(name, _)
            | Self::Referrers(name, _) => Some(*name),
        }
    }

    /// A short fixed name for logs and metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Catalog => "catalog",
            Self::Tags(_) => "tags",
            Self::Manifest(..) => "manifest",
            Self::Blob(..) => "blob",
            Self::Uploads(_) => "uploads",
            Self::Upload(..) => "upload",
            Self::Referrers(..) => "referrers",
        }
    }

    /// The path that [`Route::parse`] reads back to the same route.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::Base => "/v2/".to_owned(),
            Self::Catalog => "/v2/_catalog".to_owned(),
            Self::Tags(name) => format!("/v2/{name}/tags/list"),
            Self::Manifest(name, Reference::Tag(tag)) => format!("/v2/{name}/manifests/{tag}"),
            Self::Manifest(name, Reference::Digest(digest)) => format!("/v2/{name}/manifests/{digest}"),
            Self::Manifest(name, Reference::Invalid(text)) => format!("/v2/{name}/manifests/{text}"),
            Self::Blob(name, digest) => format!("/v2/{name}/blobs/{digest}"),
            Self::Uploads(name) => format!("/v2/{name}/blobs/uploads/"),
            Self::Upload(name, session) => format!("/v2/{name}/blobs/uploads/{session}"),
            Self::Referrers(name, digest) => format!("/v2/{name}/referrers/{digest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn awkward_names() {
        let blobs = format!("/v2/a/blobs/blobs/{D}");
        assert_eq!(Route::parse(&blobs).unwrap().repository().unwrap().as_str(), "a/blobs");
        assert!(
            matches!(Route::parse("/v2/a/manifests/tags/list"), Ok(Route::Tags(name)) if name.as_str() == "a/manifests")
        );
        assert!(
            matches!(Route::parse("/v2/tags/manifests/list"), Ok(Route::Manifest(name, _)) if name.as_str() == "tags")
        );
        assert!(matches!(Route::parse("/v2/a/blobs/uploads"), Ok(Route::Uploads(_))));
        assert!(matches!(
            Route::parse("/v2/a/manifests/.INVALID"),
            Ok(Route::Manifest(_, Reference::Invalid(".INVALID")))
        ));
    }

    #[test]
    fn refused_paths() {
        for path in ["", "/", "/v2a/", "/v1/", "/v2/a", "/v2/a/tags", "/v2//tags/list", "/v2/a/b"] {
            assert!(Route::parse(path).is_err(), "{path}");
        }
        assert_eq!(Route::parse("/v2/a/../b/tags/list"), Err(RouteError::Name(NameError::Grammar)));
        assert_eq!(Route::parse("/v2/a/blobs/sha256:zz"), Err(RouteError::Digest(DigestError::Malformed)));
    }

    proptest! {
        #[test]
        fn a_route_reads_back(name in "[a-z0-9]{1,5}(/[a-z0-9]{1,5}){0,3}", tag in "[a-z0-9_][a-z0-9._-]{0,10}") {
            let name = RepoName::parse(&name).unwrap();
            let digest = Digest::parse(D).unwrap();
            for route in [
                Route::Tags(name),
                Route::Manifest(name, Reference::parse(&tag)),
                Route::Manifest(name, Reference::Digest(digest)),
                Route::Blob(name, digest),
                Route::Uploads(name),
                Route::Upload(name, "0b1f9f9e-6f53-4b0e-9a3c-0f6c3d0d7a11"),
                Route::Referrers(name, digest),
            ] {
                let path = route.path();
                prop_assert_eq!(Route::parse(&path), Ok(route));
            }
        }

        #[test]
        fn arbitrary_paths_never_panic(path in "/v2/\\PC*") {
            let _ = Route::parse(&path);
        }
    }
}
