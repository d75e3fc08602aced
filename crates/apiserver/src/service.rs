//! From a request to its answer.

mod body;
mod timeout;

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response, header};
use hyper::body::Incoming;
use net::{Body, Connection, Handler, HandlerFuture};
use oci::Query;
use tokio::time::Instant;

use crate::authn::{Authenticated, authenticate};
use crate::call::{Call, Parts, Server};
use crate::limits::{QUERY_BYTES_MAX, STALL_TIME_MAX};
use crate::log::Record;
use crate::negotiate::form;
use crate::respond::Encoding;
use crate::route::{Route, Verb};
use crate::status::{Failure, Result};
use crate::{discovery, health, paths, tags};

/// Of a request's time for its work; the rest is for telling the client how far it came.
const WORK_SHARE: f32 = 5.0 / 6.0;

/// The API as a handler of connections. Cheap to clone.
#[derive(Clone)]
pub struct ApiServer(Arc<Server>);

impl ApiServer {
    /// Puts the parts together. Nothing is asked of them yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Server::new(parts)))
    }

    /// No new requests should be sent here: `/readyz` says so. What runs goes on.
    pub fn leave(&self) {
        self.0.leave();
    }

    /// Watches end, so that their clients go to another replica; call it when the listener begins to drain.
    pub fn stop(&self) {
        self.0.stop();
    }

    /// Appends the lines for Prometheus.
    pub fn figures(&self, out: &mut String) {
        // Writing to a string cannot fail.
        let _ = self.0.metrics.render(out, &self.0.limits);
    }

    /// Answers one request.
    pub(crate) async fn answer<B>(&self, request: http::Request<B>, connection: &Connection) -> Response<Body>
    where
        B: hyper::body::Body<Data = Bytes> + Send,
        B::Error: std::fmt::Display + Send,
    {
        let (head, body) = request.into_parts();
        let mut body = std::pin::pin!(body);
        let encoding = Encoding::of(&head.headers);
        let mut record = Record::new(&head.method, &head.uri, &head.headers, connection);
        let started = Instant::from_std(record.started);
        let answered = match timeout::limit(head.uri.query()) {
            Ok(limit) => {
                let asked = Asked { head: &head, connection, encoding, deadline: started + limit.mul_f32(WORK_SHARE) };
                let dispatched = dispatch(&self.0, &asked, body.as_mut(), &mut record);
                let late = || Err(Failure::timeout("request did not complete within the allotted time"));
                let answered = tokio::time::timeout_at(started + limit, dispatched).await;
                answered.unwrap_or_else(|_| late()).map(|response| (response, limit))
            }
            Err(failure) => Err(failure),
        };
        let (response, until) = match answered {
            // A watch lasts as long as its client wants.
            Ok((response, limit)) => (response, (record.verb != Verb::Watch).then_some(started + limit)),
            Err(failure) => {
                record.failed(&failure);
                body::drain(body).await;
                (failure.into_response(encoding), None)
            }
        };
        let response = response.map(|body| body.within(until, STALL_TIME_MAX));
        record.finish(&self.0, response)
    }
}

impl Handler for ApiServer {
    fn call(&self, request: http::Request<Incoming>, connection: &Arc<Connection>) -> HandlerFuture {
        let (server, connection) = (self.clone(), Arc::clone(connection));
        Box::pin(async move { server.answer(request, &connection).await })
    }
}

/// What is known of a request beside its body.
struct Asked<'a> {
    head: &'a http::request::Parts,
    connection: &'a Connection,
    encoding: Encoding,
    /// When long work ends.
    deadline: Instant,
}

async fn dispatch<B>(
    server: &Arc<Server>,
    asked: &Asked<'_>,
    body: Pin<&mut B>,
    record: &mut Record,
) -> Result<Response<Body>>
where
    B: hyper::body::Body<Data = Bytes> + Send,
    B::Error: std::fmt::Display + Send,
{
    let (method, headers) = (&asked.head.method, &asked.head.headers);
    let path = asked.head.uri.path();
    let query = asked.head.uri.query().unwrap_or_default();
    let route = Route::parse(path);
    if let Some(Route::Alive | Route::Ready) = route {
        // Asked every few seconds by every kubelet.
        record.silence();
        return Ok(if matches!(route, Some(Route::Ready)) { health::ready(server) } else { health::alive() });
    }
    let authenticated = authenticate(server, headers, asked.connection).await?;
    record.caller(&authenticated.caller);
    let caller = &authenticated.caller;
    let (namespace, name) = match route {
        Some(Route::Tags { namespace, name }) => (namespace, name),
        Some(route) => {
            if !matches!(*method, Method::GET | Method::HEAD) {
                return Err(Failure::no_such_method());
            }
            paths::authorize(server, caller, method, &route).await?;
            return document(server, route, asked);
        }
        // Nobody is asked about what there is not: strangers could keep the cluster busy with that.
        None if authenticated.asserted => return Err(Failure::no_such_path()),
        None => return Err(paths::forbidden(caller, method, path)),
    };
    if query.len() > QUERY_BYTES_MAX {
        return Err(Failure::bad_request(format!("the query is longer than {QUERY_BYTES_MAX} bytes")));
    }
    let verb = Verb::of(method, name.is_some(), query);
    record.verb = verb.unwrap_or(Verb::Path);
    let target = Target { namespace: namespace.as_deref(), name: name.as_deref() };
    tags(server, asked, authenticated, verb, target, body, record).await
}

/// Which tags.
struct Target<'a> {
    namespace: Option<&'a str>,
    name: Option<&'a str>,
}

async fn tags<B>(
    server: &Arc<Server>,
    asked: &Asked<'_>,
    authenticated: Authenticated,
    verb: Option<Verb>,
    target: Target<'_>,
    body: Pin<&mut B>,
    record: &Record,
) -> Result<Response<Body>>
where
    B: hyper::body::Body<Data = Bytes> + Send,
    B::Error: std::fmt::Display + Send,
{
    let Authenticated { caller, asserted } = authenticated;
    // The cluster's rule for the resource is "whoever has signed in"; the API server keeps to it, and so does this door.
    if !asserted {
        return Err(Failure::unauthorized("Unauthorized"));
    }
    let is_watch = is_served(verb)? == Verb::Watch;
    let form = form(discovery::accept(&asked.head.headers))?;
    let turn = server.limits.turn(&caller, is_watch).await?;
    // Before there is a place: a body that comes slowly must not take it from others.
    let method = &asked.head.method;
    let bytes = if method == Method::DELETE { body::read(body, &asked.head.headers).await? } else { Bytes::new() };
    let place = server.limits.enter(&caller, is_watch).await?;
    let call = Call {
        server: Arc::clone(server),
        caller,
        form,
        // An idle packer would cost more than everything else of a watch together.
        encoding: Encoding { gzip: asked.encoding.gzip && !is_watch },
        query: asked.head.uri.query().unwrap_or_default().to_owned(),
        origin: record.origin.clone(),
        deadline: asked.deadline,
        shutdown: server.shutdown(),
    };
    let response = tags::handle(call, method, target.namespace, target.name, bytes).await?;
    Ok(response.map(|body| body.on_end(move |_| drop((place, turn)))))
}

/// What would change tags otherwise than by deleting them is refused.
fn is_served(verb: Option<Verb>) -> Result<Verb> {
    match verb {
        Some(verb @ (Verb::Get | Verb::List | Verb::Watch | Verb::Delete | Verb::DeleteCollection)) => Ok(verb),
        Some(Verb::Create) => Err(unchangeable("tags are made by pushing an image; they cannot be created here")),
        Some(Verb::Update | Verb::Patch) => {
            Err(unchangeable("tags are made by pushing an image; push again to change one, it cannot be edited here"))
        }
        Some(Verb::Path) | None => Err(unchangeable("tags can be read, watched and deleted")),
    }
}

fn unchangeable(message: &str) -> Failure {
    Failure::method_not_allowed(message).allow("GET, HEAD, DELETE")
}

/// What comes from memory.
fn document(server: &Server, route: Route<'_>, asked: &Asked<'_>) -> Result<Response<Body>> {
    let (headers, encoding) = (&asked.head.headers, asked.encoding);
    let documents = &server.documents;
    let document = match route {
        Route::Root => &documents.root,
        Route::Version => &documents.version,
        Route::Core => &documents.core,
        Route::Groups => return discovery::answer_groups(documents, headers, encoding),
        Route::Group => &documents.group,
        Route::Resources => &documents.resources,
        Route::OpenApiV2 => &documents.openapi_v2,
        Route::OpenApiV3 => &documents.openapi_v3,
        Route::OpenApiV3Group => return openapi_group(server, asked),
        Route::Alive | Route::Ready | Route::Tags { .. } => return Err(Failure::no_such_path()),
    };
    discovery::answer(document, headers, encoding)
}

/// A client that names the hash of the document may keep it for ever; one that names another hash is told the right one.
fn openapi_group(server: &Server, asked: &Asked<'_>) -> Result<Response<Body>> {
    let document = &server.documents.openapi_v3_group;
    let asked_for = Query::new(asked.head.uri.query()).get("hash").filter(|hash| !hash.is_empty());
    if asked_for.as_deref().is_some_and(|hash| hash != document.hash()) {
        return Ok(moved(&crate::openapi::v3_address(document.hash())));
    }
    let mut response = discovery::answer(document, &asked.head.headers, asked.encoding)?;
    if asked_for.is_some() {
        let value = http::HeaderValue::from_static("public, immutable, max-age=31536000");
        response.headers_mut().insert(header::CACHE_CONTROL, value);
    }
    Ok(response)
}

fn moved(address: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = http::StatusCode::MOVED_PERMANENTLY;
    if let Ok(address) = http::HeaderValue::from_str(address) {
        response.headers_mut().insert(header::LOCATION, address);
    }
    response
}

#[cfg(test)]
mod tests;
