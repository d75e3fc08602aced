//! Uploads: begin, status, chunk, finish, cancel.

use crate::auth;
use crate::context::{Identity, Registry};
use crate::error::{Error, Result};
use crate::log::Record;
use crate::respond::{self, CONTENT_DIGEST, UPLOAD_UUID};
use crate::service::{Call, Request, detached};
use crate::tenancy;
use crate::ticket::{Checked, GRANT_SECONDS};
use access::{Caller, Credential};
use content::{SessionId, Ticket, Upload};
use http::{Method, Response, StatusCode, header};
use net::{Body, RequestBody, RequestBodyError};
use oci::{Algorithm, ChunkRange, Digest, ErrorCode, RepoName, Route};
use std::time::{Duration, SystemTime};

/// The ticket in the address, when it is ours.
pub(crate) fn ticket(registry: &Registry, request: &Request<'_>, route: &Route<'_>) -> Option<Checked> {
    let Route::Upload(name, session) = route else { return None };
    let state = request.query.get("_state")?;
    registry.signer.load().check(&state, *name, SessionId::parse(session)?)
}

/// The request only adds to a session, or asks about it, and the ticket was given to its caller not too long ago: then
/// it need not wait until rights can be checked. Where they can be, a ticket is no right.
pub(crate) fn may_continue(ticket: Option<&Checked>, method: &Method, caller: &Caller) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::PATCH) && is_grant(ticket, caller)
}

/// The ticket was given to this caller not too long ago.
fn is_grant(ticket: Option<&Checked>, caller: &Caller) -> bool {
    ticket.is_some_and(|checked| {
        checked.caller.as_deref() == caller.name()
            && checked.source == caller.source().as_str()
            && is_fresh(&checked.ticket)
    })
}

fn is_fresh(ticket: &Ticket) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    now.saturating_sub(ticket.started) <= GRANT_SECONDS
}

/// The caller of a token that has ended since the upload began, when the token was ours and its user is still the same, or
/// it was the cluster's and has ended by itself, and the ticket is theirs.
///
/// The cluster does not review a token that has ended, so one that is revoked after its end still counts here for as
/// long as a ticket does. It is good for nothing but uploads that its caller has begun, while the caller may push there.
pub(crate) fn ended_token(ticket: Option<&Checked>, request: &Request<'_>, identity: &Identity) -> Option<Caller> {
    let value = request.headers.get(header::AUTHORIZATION)?.as_bytes();
    let credential = Credential::parse(Some(value)).ok()?;
    let within = Duration::from_secs(GRANT_SECONDS);
    let ours = match &credential {
        Credential::Bearer(token) => {
            identity.tokens.as_ref().and_then(|tokens| tokens.verify_ended(token.expose(), within).ok())
        }
        _ => None,
    };
    let caller = ours.or_else(|| identity.cluster.as_ref()?.tokens.ended(auth::token(&credential)?, within))?;
    is_grant(ticket, &caller).then_some(caller)
}

/// `POST /v2/<name>/blobs/uploads/`
pub(crate) async fn begin(
    call: &Call<'_>,
    name: RepoName<'_>,
    body: &mut RequestBody,
    record: &mut Record,
) -> Result<Response<Body>> {
    call.writable()?;
    let query = call.request.query;
    if let Some(mount) = query.get("mount") {
        let digest = parse_digest(&mount)?;
        if mounted(call, name, digest).await? {
            record.digest(&digest);
            record.audit("blob.mount");
            return Ok(created(call, name, &digest));
        }
    }
    let algorithm = match query.get("digest-algorithm") {
        Some(text) => {
            Algorithm::parse(&text).map_err(|error| Error::new(ErrorCode::DigestInvalid, error.to_string()))?
        }
        None => Algorithm::Sha256,
    };
    let Some(digest) = query.get("digest").filter(|_| query.get("mount").is_none()) else {
        let ticket = call.registry.store.upload_begin(name, algorithm, owner(call));
        return Ok(progress(call, StatusCode::ACCEPTED, &ticket));
    };
    let digest = parse_digest(&digest)?;
    let ticket = call.registry.store.upload_begin(name, digest.algorithm(), owner(call));
    let more = body.content_length();
    check_size(call, more.unwrap_or(0))?;
    let store = &call.registry.store;
    let mut upload = store.upload_open_for(name, ticket.id, Some(&ticket), more, Some(&digest)).await?;
    receive(call, &mut upload, body).await?;
    commit(call, upload, name, digest, record).await
}

fn owner<'a>(call: &'a Call<'_>) -> Option<&'a str> {
    call.owner.as_ref().map(|uid| &*uid.0)
}

async fn mounted(call: &Call<'_>, name: RepoName<'_>, digest: Digest) -> Result<bool> {
    let from = call.request.query.get("from");
    let from = from.as_deref().filter(|from| !from.is_empty());
    let Some(from) = from else {
        // Without a source any repository would do, if the caller may read all of them.
        let open = call.identity.open;
        let source = if open { None } else { Some(name) };
        return Ok(call.registry.store.blob_mount(name, digest, source).await?.is_some());
    };
    // A source that the caller may not read, or that is no name, looks like one that does not have the blob.
    let Ok(from) = RepoName::parse(from) else { return Ok(false) };
    // The right first: storage is not even looked at without it, so there is nothing to measure.
    if !auth::can_pull(call.identity, call.caller, from.as_str()).await.unwrap_or(false) {
        return Ok(false);
    }
    match tenancy::is_readable(call.identity, &call.registry.store, from).await {
        Ok(true) => {}
        Ok(false) => return Ok(false),
        Err(content::Error::OwnerDamaged(key)) => {
            tracing::error!(key, "damaged owner record, nothing is mounted from the namespace");
            return Ok(false);
        }
        Err(error) => return Err(error.into()),
    }
    Ok(call.registry.store.blob_mount(name, digest, Some(from)).await?.is_some())
}

/// Everything on `/v2/<name>/blobs/uploads/<session>`.
pub(crate) async fn session(
    call: &Call<'_>,
    name: RepoName<'_>,
    session: &str,
    ticket: Option<Checked>,
    body: &mut RequestBody,
    record: &mut Record,
) -> Result<Response<Body>> {
    let unknown = || Error::from(content::Error::UploadUnknown);
    let id = SessionId::parse(session).ok_or_else(unknown)?;
    let ticket = ticket.map(|checked| checked.ticket);
    match *call.request.method {
        Method::GET | Method::HEAD => {
            let ticket = call.registry.store.upload_status(name, id, ticket.as_ref()).await?;
            Ok(progress(call, StatusCode::NO_CONTENT, &ticket))
        }
        Method::PATCH => chunk(call, name, id, ticket.as_ref(), body, record).await,
        Method::PUT => finish(call, name, id, ticket.as_ref(), body, record).await,
        Method::DELETE => {
            call.writable()?;
            call.registry.store.upload_cancel(name, id, ticket.as_ref()).await?;
            Ok(respond::empty(StatusCode::NO_CONTENT))
        }
        _ => Err(Error::method("GET, HEAD, PATCH, PUT, DELETE")),
    }
}

async fn chunk(
    call: &Call<'_>,
    name: RepoName<'_>,
    id: SessionId,
    ticket: Option<&Ticket>,
    body: &mut RequestBody,
    record: &mut Record,
) -> Result<Response<Body>> {
    call.writable()?;
    let mut upload = open(call, name, id, ticket, body, None).await?;
    let received = receive(call, &mut upload, body).await;
    // What came is kept even if the connection broke: the client asks for the status and goes on from there.
    record.received(upload.offset());
    // Who sends a blob in pieces says which one this is.
    let in_pieces = call.request.header(header::CONTENT_RANGE).is_some();
    let ticket = if received.is_err() || in_pieces { upload.suspend().await } else { upload.suspend_whole().await };
    // Why bytes could not be taken says more than that they are not recorded.
    received?;
    Ok(progress(call, StatusCode::ACCEPTED, &ticket?))
}

async fn finish(
    call: &Call<'_>,
    name: RepoName<'_>,
    id: SessionId,
    ticket: Option<&Ticket>,
    body: &mut RequestBody,
    record: &mut Record,
) -> Result<Response<Body>> {
    call.writable()?;
    let digest = call.request.query.get("digest").ok_or_else(|| {
        Error::new(ErrorCode::DigestInvalid, "the request that ends an upload must have the query parameter digest")
    })?;
    let digest = parse_digest(&digest)?;
    let mut upload = open(call, name, id, ticket, body, Some(&digest)).await?;
    receive(call, &mut upload, body).await?;
    commit(call, upload, name, digest, record).await
}

/// Opens a session for the body of this request, checking where the body belongs.
async fn open(
    call: &Call<'_>,
    name: RepoName<'_>,
    id: SessionId,
    ticket: Option<&Ticket>,
    body: &RequestBody,
    digest: Option<&Digest>,
) -> Result<Upload> {
    let length = body.content_length();
    let range = match call.request.header(header::CONTENT_RANGE) {
        Some(text) if length != Some(0) => Some(ChunkRange::parse(text).map_err(|error| {
            Error::new(ErrorCode::BlobUploadInvalid, error.to_string()).status(StatusCode::BAD_REQUEST)
        })?),
        _ => None,
    };
    if let (Some(range), Some(length)) = (range, length)
        && range.end - range.start + 1 != length
    {
        return Err(Error::new(ErrorCode::SizeInvalid, "Content-Range and Content-Length differ"));
    }
    check_size(call, ticket.map_or(0, |ticket| ticket.offset).saturating_add(length.unwrap_or(0)))?;
    let store = &call.registry.store;
    let opened = store.upload_open_for(name, id, ticket, length, digest).await;
    let upload = match opened {
        Ok(upload) if range.is_none_or(|range| range.start == upload.offset()) => upload,
        Ok(upload) => return Err(out_of_order(call, name, id, ticket, upload.offset()).await),
        Err(content::Error::OutOfOrder { offset }) => return Err(out_of_order(call, name, id, ticket, offset).await),
        Err(error) => return Err(error.into()),
    };
    check_size(call, upload.offset().saturating_add(length.unwrap_or(0)))?;
    Ok(upload)
}

/// 416 with what the client needs to go on.
async fn out_of_order(
    call: &Call<'_>,
    name: RepoName<'_>,
    id: SessionId,
    ticket: Option<&Ticket>,
    offset: u64,
) -> Error {
    let mut refusal = Error::from(content::Error::OutOfOrder { offset });
    // An old ticket is no reason not to tell where the upload stands.
    let status = match call.registry.store.upload_status(name, id, None).await {
        Ok(status) => Some(status),
        Err(_) => ticket.cloned(),
    };
    if let Some(status) = status {
        refusal = refusal
            .header(header::LOCATION, &address(call, &status))
            .header(header::RANGE, &range_text(status.offset))
            .header(UPLOAD_UUID, &id.to_string());
    }
    refusal
}

async fn receive(call: &Call<'_>, upload: &mut Upload, body: &mut RequestBody) -> Result<()> {
    while let Some(chunk) = body.chunk().await {
        let chunk = chunk.map_err(|error| body_error(&error))?;
        check_size(call, upload.offset().saturating_add(chunk.len() as u64))?;
        upload.write(&chunk).await?;
    }
    Ok(())
}

async fn commit(
    call: &Call<'_>,
    upload: Upload,
    name: RepoName<'_>,
    digest: Digest,
    record: &mut Record,
) -> Result<Response<Body>> {
    if !tenancy::is_still(call, name).await? {
        return Err(content::Error::UploadUnknown.into());
    }
    // A client that goes away now must not leave the commit half done on our side: it is finished on its own.
    let info = detached(name, |repo| async move { upload.commit(repo.name()?, digest).await }).await?;
    record.digest(&digest);
    record.received(info.size);
    record.audit("blob.push");
    Ok(created(call, name, &digest))
}

fn created(call: &Call<'_>, name: RepoName<'_>, digest: &Digest) -> Response<Body> {
    let mut response = respond::empty(StatusCode::CREATED);
    let location = respond::location(call.live(), &format!("/v2/{name}/blobs/{digest}"));
    respond::set(&mut response, header::LOCATION, &location);
    respond::set(&mut response, CONTENT_DIGEST, &digest.to_string());
    response
}

/// The answer that tells where an upload stands and how to go on.
fn progress(call: &Call<'_>, status: StatusCode, ticket: &Ticket) -> Response<Body> {
    let mut response = respond::empty(status);
    respond::set(&mut response, header::LOCATION, &address(call, ticket));
    respond::set(&mut response, header::RANGE, &range_text(ticket.offset));
    respond::set(&mut response, UPLOAD_UUID, &ticket.id.to_string());
    response
}

fn address(call: &Call<'_>, ticket: &Ticket) -> String {
    let state = call.registry.signer.load().sign(ticket, call.caller.name(), call.caller.source().as_str());
    let path = format!("/v2/{}/blobs/uploads/{}?_state={state}", ticket.repository, ticket.id);
    respond::location(call.live(), &path)
}

/// `0-<last byte>`; docker wants `0-0` for nothing.
fn range_text(offset: u64) -> String {
    format!("0-{}", offset.saturating_sub(1))
}

fn parse_digest(text: &str) -> Result<Digest> {
    Digest::parse(text).map_err(|error| Error::new(ErrorCode::DigestInvalid, error.to_string()))
}

fn check_size(call: &Call<'_>, size: u64) -> Result<()> {
    match call.live().upload_bytes_max {
        Some(limit) if size > limit => {
            Err(Error::new(ErrorCode::SizeInvalid, format!("blob is larger than the limit of {limit} bytes"))
                .status(StatusCode::PAYLOAD_TOO_LARGE))
        }
        _ => Ok(()),
    }
}

pub(crate) fn body_error(error: &RequestBodyError) -> Error {
    let refusal = Error::new(ErrorCode::BlobUploadInvalid, error.to_string());
    match error {
        RequestBodyError::Stalled(_) => refusal.status(StatusCode::REQUEST_TIMEOUT),
        RequestBodyError::Aborted(_) => refusal,
    }
}
