//! Manifests: GET, HEAD, PUT, DELETE.

use crate::auth;
use crate::error::{Error, Result};
use crate::log::Record;
use crate::respond::{self, CONTENT_DIGEST, OCI_SUBJECT, OCI_TAG};
use crate::service::{Call, detached};
use crate::tenancy;
use crate::upload::body_error;
use bytes::{Bytes, BytesMut};
use content::PutManifest;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use net::{Body, RequestBody};
use oci::{Digest, ErrorCode, Reference, RepoName, Tag};
use std::sync::Arc;

/// Most `tag` parameters of one request.
const TAGS_MAX: usize = 100;

/// `GET`, `HEAD /v2/<name>/manifests/<reference>`
pub(crate) async fn get(
    call: &Call<'_>,
    name: RepoName<'_>,
    reference: Reference<'_>,
    record: &mut Record,
) -> Result<Response<Body>> {
    record.reference(&reference);
    let (digest, stored) =
        call.registry.store.manifest(name, reference).await.map_err(|error| match (&error, &reference) {
            (content::Error::ManifestUnknown, Reference::Invalid(text)) => {
                Error::new(ErrorCode::ManifestUnknown, format!("{text:?} is neither a tag nor a digest"))
            }
            _ => Error::from(error),
        })?;
    record.digest(&digest);
    let text = digest.to_string();
    let headers = call.request.headers;
    let mut response = if headers.contains_key(header::IF_NONE_MATCH) && respond::is_not_modified(headers, &text) {
        respond::empty(StatusCode::NOT_MODIFIED)
    } else if *call.request.method == Method::HEAD {
        let mut response = respond::empty(StatusCode::OK);
        respond::set_length(&mut response, stored.bytes.len() as u64);
        response
    } else {
        Response::new(Body::full(stored.bytes.clone()))
    };
    respond::set_digest(&mut response, &digest);
    respond::set(&mut response, header::CONTENT_TYPE, &stored.media_type);
    // `?ns=` names the registry that the client means; a mirror says so when it serves for it. We serve for ourselves.
    if let Some(namespace) = call.request.query.get("ns")
        && namespace == call.request.host()
    {
        respond::set(&mut response, HeaderName::from_static("oci-namespace"), &namespace);
    }
    Ok(response)
}

/// `PUT /v2/<name>/manifests/<reference>`
pub(crate) async fn put(
    call: &Call<'_>,
    name: RepoName<'_>,
    reference: Reference<'_>,
    body: &mut RequestBody,
    record: &mut Record,
) -> Result<Response<Body>> {
    record.reference(&reference);
    call.writable()?;
    if call.request.query.is_too_long() {
        return Err(Error::new(ErrorCode::Unsupported, "too many query parameters").status(StatusCode::URI_TOO_LONG));
    }
    let extra: Vec<_> = call.request.query.all("tag").take(TAGS_MAX + 1).collect();
    if extra.len() > TAGS_MAX {
        return Err(Error::new(ErrorCode::TagInvalid, format!("at most {TAGS_MAX} tags in one request"))
            .status(StatusCode::URI_TOO_LONG));
    }
    let mut tags = Vec::with_capacity(extra.len() + 1);
    let digest = match reference {
        Reference::Digest(digest) => Some(digest),
        Reference::Tag(tag) => {
            tags.push(tag);
            None
        }
        Reference::Invalid(text) => return Err(invalid_reference(text)),
    };
    for text in &extra {
        let tag = Tag::parse(text).map_err(|error| Error::new(ErrorCode::TagInvalid, format!("{text:?}: {error}")))?;
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    let live = call.live();
    let put = PutManifest {
        bytes: read(body, call.registry.store.manifest_bytes_max()).await?,
        content_type: call.request.header(header::CONTENT_TYPE),
        digest,
        tags: &tags,
        blobs_required: live.blobs_required,
        children: &live.index_children,
        url_allowed: &*live.url_allowed,
    };
    let size = put.bytes.len();
    if !tenancy::is_still(call, name).await? {
        return Err(Error::unavailable("the namespace was made anew meanwhile, push again", auth::RETRY_AFTER));
    }
    let outcome = call.registry.store.manifest_put(name, put).await?;
    record.digest(&outcome.digest);
    record.received(size as u64);
    record.audit("manifest.push");
    let mut response = respond::empty(StatusCode::CREATED);
    let location = respond::location(live, &format!("/v2/{name}/manifests/{}", outcome.digest));
    respond::set(&mut response, header::LOCATION, &location);
    respond::set(&mut response, CONTENT_DIGEST, &outcome.digest.to_string());
    if let Some(subject) = outcome.subject {
        respond::set(&mut response, OCI_SUBJECT, &subject.to_string());
    }
    for tag in tags.iter().filter(|_| !extra.is_empty()) {
        if let Ok(value) = HeaderValue::from_str(tag.as_str()) {
            response.headers_mut().append(OCI_TAG, value);
        }
    }
    Ok(response)
}

fn invalid_reference(text: &str) -> Error {
    if text.contains(':') {
        let reason = Digest::parse(text).err().map(|error| error.to_string()).unwrap_or_default();
        Error::new(ErrorCode::DigestInvalid, reason)
    } else {
        Error::new(ErrorCode::TagInvalid, oci::TagError.to_string())
    }
}

async fn read(body: &mut RequestBody, limit: usize) -> Result<Bytes> {
    let too_large = || {
        Error::new(ErrorCode::SizeInvalid, format!("manifest is larger than {limit} bytes"))
            .status(StatusCode::PAYLOAD_TOO_LARGE)
    };
    if body.content_length().is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let mut bytes = BytesMut::with_capacity(usize::try_from(body.content_length().unwrap_or(0)).unwrap_or(0));
    while let Some(chunk) = body.chunk().await {
        let chunk = chunk.map_err(|error| body_error(&error))?;
        if bytes.len() + chunk.len() > limit {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// `DELETE /v2/<name>/manifests/<reference>`
pub(crate) async fn delete(
    call: &Call<'_>,
    name: RepoName<'_>,
    reference: Reference<'_>,
    record: &mut Record,
) -> Result<Response<Body>> {
    record.reference(&reference);
    call.deletable()?;
    let store = Arc::clone(&call.registry.store);
    let digest = match reference {
        Reference::Tag(tag) => {
            let tag = tag.as_str().to_owned();
            let removed = detached(name, |repo| async move {
                let tag = Tag::parse(&tag).map_err(|_| content::Error::ManifestUnknown)?;
                store.tag_delete(repo.name()?, tag, None).await
            });
            let digest = removed.await?;
            record.audit("tag.delete");
            digest
        }
        Reference::Digest(digest) => {
            let removed = detached(name, |repo| async move { store.manifest_delete(repo.name()?, digest).await });
            record.tags_removed(&removed.await?);
            record.audit("manifest.delete");
            Some(digest)
        }
        Reference::Invalid(text) => return Err(invalid_reference(text)),
    };
    if let Some(digest) = digest {
        record.digest(&digest);
    }
    Ok(respond::empty(StatusCode::ACCEPTED))
}
