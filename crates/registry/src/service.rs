//! From a request to its handler.

use crate::context::{Identity, Live, Registry};
use crate::error::{Error, Result};
use crate::log::Record;
use crate::{auth, blob, catalog, limits, lists, manifest, respond, tenancy, token, upload};
use access::{Caller, NamespaceUid};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use hyper::body::Incoming;
use net::{Body, Connection, Handler, HandlerFuture, Peer, RequestBody};
use oci::{ErrorCode, Query, RepoName, Route, RouteError};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// After a refusal this much of the body is still read, so that the client gets to see the answer.
const DRAIN_BYTES_MAX: u64 = 8 << 20;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(2);

/// The registry as a handler of connections.
#[derive(Clone)]
pub struct Service(Arc<Registry>);

impl Service {
    /// Wraps the registry.
    #[must_use]
    pub fn new(registry: Arc<Registry>) -> Self {
        Self(registry)
    }
}

/// The parts of a request that handlers look at. The body is kept apart.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a Method,
    /// Decoded, without the prefix.
    pub(crate) path: &'a str,
    pub(crate) query: Query<'a>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) connection: &'a Connection,
    pub(crate) authority: Option<&'a str>,
    pub(crate) live: &'a Live,
}

impl Request<'_> {
    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        respond::text(self.headers, name)
    }

    /// The host by which the client came, as the nearest proxy tells it.
    pub(crate) fn host(&self) -> &str {
        let forwarded = self.header(header::HeaderName::from_static("x-forwarded-host"));
        let first = forwarded.and_then(|list| list.split(',').next()).map(str::trim);
        first.or_else(|| self.header(header::HOST)).or(self.authority).unwrap_or("localhost")
    }

    pub(crate) fn scheme(&self) -> &'static str {
        let forwarded = self.header(header::HeaderName::from_static("x-forwarded-proto"));
        match forwarded.and_then(|list| list.split(',').next()).map(str::trim) {
            Some("https") => "https",
            Some("http") => "http",
            _ if self.connection.tls => "https",
            _ => "http",
        }
    }

    pub(crate) fn client(&self) -> String {
        self.address().map_or_else(|| "unix".to_owned(), |address| address.to_string())
    }

    /// Where the client is, or the proxy that brought it.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        match &self.connection.peer {
            Peer::Tcp(address) => Some(address.ip()),
            Peer::Unix(_) => None,
        }
    }
}

/// All that an operation needs.
pub(crate) struct Call<'a> {
    pub(crate) registry: &'a Arc<Registry>,
    pub(crate) identity: &'a Identity,
    pub(crate) request: &'a Request<'a>,
    pub(crate) caller: &'a Caller,
    /// The namespace that is written for.
    pub(crate) owner: Option<NamespaceUid>,
}

impl Call<'_> {
    pub(crate) fn live(&self) -> &Live {
        self.request.live
    }

    /// Writes are refused while the registry is read-only.
    pub(crate) fn writable(&self) -> Result<()> {
        if self.live().read_only {
            return Err(Error::new(ErrorCode::Unsupported, "the registry is read-only at the moment"));
        }
        Ok(())
    }

    pub(crate) fn deletable(&self) -> Result<()> {
        self.writable()?;
        if !self.live().delete {
            return Err(Error::new(
                ErrorCode::Unsupported,
                "deleting is switched off in the registry's configuration (storage.delete.enabled)",
            ));
        }
        Ok(())
    }
}

/// The name of a repository for a task of its own.
pub(crate) struct Repo(String);

impl Repo {
    pub(crate) fn name(&self) -> content::Result<RepoName<'_>> {
        // It was a name a moment ago.
        RepoName::parse(&self.0).map_err(|_| content::Error::NameUnknown)
    }
}

/// Carries out a change to its end even if the client goes away meanwhile.
pub(crate) async fn detached<T, F>(name: RepoName<'_>, change: impl FnOnce(Repo) -> F) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = content::Result<T>> + Send + 'static,
{
    let done = tokio::spawn(change(Repo(name.as_str().to_owned())))
        .await
        .map_err(|error| Error::new(ErrorCode::Unknown, "the change could not be finished").cause(error.to_string()))?;
    Ok(done?)
}

impl Handler for Service {
    fn call(&self, request: http::Request<Incoming>, connection: &Arc<Connection>) -> HandlerFuture {
        let (registry, connection) = (Arc::clone(&self.0), Arc::clone(connection));
        Box::pin(async move { handle(registry, request, &connection).await })
    }
}

async fn handle(registry: Arc<Registry>, request: http::Request<Incoming>, connection: &Connection) -> Response<Body> {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let live = registry.live.load_full();
    let raw = parts.uri.path();
    let path = raw.strip_prefix(live.prefix.as_str()).unwrap_or(raw);
    if let Some(response) = registry.health.answer(path) {
        return response;
    }
    let in_flight = registry.metrics.enter();
    let decoded = if path.contains('%') { percent_decode_str(path).decode_utf8() } else { Ok(Cow::Borrowed(path)) };
    let request = Request {
        method: &parts.method,
        path: decoded.as_deref().unwrap_or("/v2/\u{fffd}"),
        query: Query::new(parts.uri.query()),
        headers: &parts.headers,
        connection,
        authority: parts.uri.authority().map(http::uri::Authority::as_str),
        live: &live,
    };
    let mut record = Record::new(&request, started);
    let mut body = RequestBody::new(body, live.body_idle);
    let announced = body.content_length();
    let result = dispatch(&registry, &request, &mut body, &mut record).await;
    // A client that waits to be asked for the body has not sent it, and should not.
    let held_back = parts.headers.contains_key(header::EXPECT) && body.content_length() == announced;
    if result.is_err() && !held_back {
        drain(&mut body).await;
    }
    let mut response = result.unwrap_or_else(|mut error| {
        record.refused(&error.code(), error.take_cause());
        error.into_response()
    });
    finish_headers(&mut response, &live, request.path);
    record.finish(&registry, &live, response, in_flight)
}

/// Reads on for a moment: closing a connection with unread data would take the answer away from the client.
async fn drain(body: &mut RequestBody) {
    let mut left = DRAIN_BYTES_MAX;
    let reading = async {
        while let Some(Ok(chunk)) = body.chunk().await {
            left = left.saturating_sub(chunk.len() as u64);
            if left == 0 {
                break;
            }
        }
    };
    drop(tokio::time::timeout(DRAIN_TIME_MAX, reading).await);
}

fn finish_headers(response: &mut Response<Body>, live: &Live, path: &str) {
    let headers = response.headers_mut();
    if path.starts_with("/v2") {
        let version = header::HeaderName::from_static("docker-distribution-api-version");
        headers.insert(version, HeaderValue::from_static("registry/2.0"));
        // What is pushed here must never run in the browser of whoever looks at it.
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    }
    for (name, value) in &live.headers {
        headers.append(name.clone(), value.clone());
    }
}

async fn dispatch(
    registry: &Arc<Registry>,
    request: &Request<'_>,
    body: &mut RequestBody,
    record: &mut Record,
) -> Result<Response<Body>> {
    let identity = registry.identity.load_full();
    match request.path {
        "/token" | "/openshift/token" => return token::answer(&identity, request, body).await,
        "/extensions/v2/metrics" => return crate::metrics::answer(registry, &identity, request).await,
        "/" => return Ok(respond::full("text/plain; charset=utf-8", "homeport: the registry API is at /v2/\n")),
        _ => {}
    }
    let route = Route::parse(request.path).map_err(|error| route_error(request.path, &error))?;
    record.route(&route);
    let ticket = upload::ticket(registry, request, &route);
    let caller = match auth::authenticate(&identity, request).await {
        Ok(caller) => caller,
        // A token that ends during a long upload does not end the upload.
        Err(error) => upload::ended_token(ticket.as_ref(), request, &identity).ok_or(error)?,
    };
    record.caller(&caller);
    match auth::authorize(registry, &identity, request, &caller, &route).await {
        // While nobody can tell, what has begun may be brought nearer to its end. The end itself waits.
        Err(error)
            if error.code() == ErrorCode::Unavailable
                && upload::may_continue(ticket.as_ref(), request.method, &caller) => {}
        authorized => authorized?,
    }
    let client = caller.name().map_or_else(|| Cow::Owned(request.client()), Cow::Borrowed);
    let permit = limits::enter(&registry.gates, request.method, &route, &client).await?;
    let mut call = Call { registry, identity: &identity, request, caller: &caller, owner: None };
    call.owner = tenancy::admit(&call, auth::action(request.method, &route), &route, ticket.as_ref()).await?;
    let response = run(&call, route, ticket, body, record).await?;
    record.keep(permit);
    Ok(response)
}

async fn run(
    call: &Call<'_>,
    route: Route<'_>,
    ticket: Option<crate::ticket::Checked>,
    body: &mut RequestBody,
    record: &mut Record,
) -> Result<Response<Body>> {
    let method = call.request.method;
    match route {
        Route::Base => match *method {
            Method::GET | Method::HEAD => Ok(respond::full("application/json", "{}")),
            _ => Err(Error::method("GET, HEAD")),
        },
        Route::Catalog => catalog::answer(call).await,
        Route::Tags(name) => lists::tags(call, name).await,
        Route::Referrers(name, digest) => lists::referrers(call, name, digest).await,
        Route::Manifest(name, reference) => match *method {
            Method::GET | Method::HEAD => manifest::get(call, name, reference, record).await,
            Method::PUT => manifest::put(call, name, reference, body, record).await,
            Method::DELETE => manifest::delete(call, name, reference, record).await,
            _ => Err(Error::method("GET, HEAD, PUT, DELETE")),
        },
        Route::Blob(name, digest) => match *method {
            Method::GET => blob::get(call, name, digest, record).await,
            Method::HEAD => blob::head(call, name, digest, record).await,
            Method::DELETE => blob::delete(call, name, digest, record).await,
            _ => Err(Error::method("GET, HEAD, DELETE")),
        },
        Route::Uploads(name) => match *method {
            Method::POST => upload::begin(call, name, body, record).await,
            _ => Err(Error::method("POST")),
        },
        Route::Upload(name, session) => upload::session(call, name, session, ticket, body, record).await,
    }
}

fn route_error(path: &str, error: &RouteError) -> Error {
    match error {
        RouteError::Name(error) => Error::new(ErrorCode::NameInvalid, error.to_string()),
        RouteError::Digest(error) => Error::new(ErrorCode::DigestInvalid, error.to_string()),
        RouteError::NotFound => {
            let hint = if path.starts_with("/v2") {
                "no such endpoint of the registry API"
            } else {
                "nothing is here, the registry API is at /v2/"
            };
            Error::new(ErrorCode::NameUnknown, hint).status(StatusCode::NOT_FOUND)
        }
    }
}

/// Health and metrics on a listener of their own, for whoever runs the registry.
pub struct DebugService {
    registry: Arc<Registry>,
    metrics_path: Option<String>,
}

impl DebugService {
    /// `metrics_path`: where the metrics are; `None`: nowhere.
    #[must_use]
    pub fn new(registry: Arc<Registry>, metrics_path: Option<String>) -> Self {
        Self { registry, metrics_path }
    }
}

impl Handler for DebugService {
    fn call(&self, request: http::Request<Incoming>, _connection: &Arc<Connection>) -> HandlerFuture {
        let path = request.uri().path();
        let answer = if self.metrics_path.as_deref() == Some(path) {
            crate::metrics::text(&self.registry)
        } else {
            self.registry.health.answer(path).unwrap_or_else(|| respond::empty(StatusCode::NOT_FOUND))
        };
        Box::pin(std::future::ready(answer))
    }
}
