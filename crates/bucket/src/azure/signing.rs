//! What stands between the client library and the network: each attempt is signed by itself, with keys as they are in
//! the container and names as Azure takes them.

use super::place::Place;
use crate::error::all_of;
use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use object_store::azure::{AzureAuthorizer, AzureCredentialProvider};
use object_store::client::{
    HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody, HttpService,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The time of small objects, in a name that Azure accepts: it must be an identifier, without a hyphen.
const TIME: HeaderName = HeaderName::from_static("x-ms-meta-homeport_time");
/// The same as [`crate::read::TIME`] makes it.
const TIME_ABOVE: HeaderName = HeaderName::from_static("x-ms-meta-homeport-time");
const ERROR_CODE: &str = "x-ms-error-code";
const VERSION: HeaderName = HeaderName::from_static("x-ms-version");
/// The first version in which a list can begin in the middle.
const STARTS_FROM: HeaderValue = HeaderValue::from_static("2026-02-06");

#[derive(Debug)]
pub(super) struct Signing {
    pub(super) client: HttpClient,
    pub(super) place: Arc<Place>,
    pub(super) credentials: AzureCredentialProvider,
    /// The service does not know [`STARTS_FROM`]; it gives lists from their beginning.
    pub(super) is_old: AtomicBool,
}

/// No credentials. It keeps no status: what gives credentials says nothing of objects.
#[derive(Debug, thiserror::Error)]
#[error("no credentials: {0}")]
struct NoCredentials(String);

fn refused(error: &object_store::Error) -> HttpError {
    let text = all_of(error).replace("status code: ", "status ").replace("<Code>", "");
    HttpError::new(HttpErrorKind::Unknown, NoCredentials(text))
}

impl Signing {
    async fn send(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.place.rewrite(request.uri_mut());
        rename(request.headers_mut(), &TIME_ABOVE, TIME);
        let starts = request.uri().query().is_some_and(|query| query.contains("startFrom="));
        if !starts || self.is_old.load(Ordering::Relaxed) {
            return self.send_signed(request).await;
        }
        let (method, uri, headers) = (request.method().clone(), request.uri().clone(), request.headers().clone());
        request.headers_mut().insert(VERSION, STARTS_FROM);
        let answer = self.send_signed(request).await?;
        let is_unknown = answer.headers().get(ERROR_CODE).is_some_and(|code| code == "InvalidHeaderValue");
        if !is_unknown {
            return Ok(answer);
        }
        self.is_old.store(true, Ordering::Relaxed);
        let mut again = HttpRequest::new(HttpRequestBody::empty());
        (*again.method_mut(), *again.uri_mut(), *again.headers_mut()) = (method, uri, headers);
        self.send_signed(again).await
    }

    async fn send_signed(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let credential = self.credentials.get_credential().await.map_err(|error| refused(&error))?;
        let authorizer = AzureAuthorizer::new(&credential, &self.place.account);
        authorizer.try_authorize(&mut request).map_err(|error| refused(&error))?;
        let is_head = request.method() == Method::HEAD;
        let mut answer = self.client.execute(request).await?;
        rename(answer.headers_mut(), &TIME, TIME_ABOVE);
        Ok(if is_head { with_document(answer) } else { answer })
    }
}

fn rename(headers: &mut HeaderMap, from: &HeaderName, to: HeaderName) {
    if let Some(value) = headers.remove(from) {
        headers.insert(to, value);
    }
}

/// An answer to a HEAD has no body; what it would say is in a header.
fn with_document(answer: HttpResponse) -> HttpResponse {
    let code = answer.headers().get(ERROR_CODE).and_then(|code: &HeaderValue| code.to_str().ok());
    let Some(code) = code.filter(|_| !answer.status().is_success()) else { return answer };
    let document = format!("<Error><Code>{code}</Code></Error>");
    let (parts, _) = answer.into_parts();
    HttpResponse::from_parts(parts, HttpResponseBody::from(document))
}

#[async_trait]
impl HttpService for Signing {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.send(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{claims_absence, kind_of};
    use storage::ErrorKind;

    #[test]
    fn what_gives_credentials_never_says_that_an_object_is_missing() {
        let source = "Server returned non-2xx status code: 404: <Code>BlobNotFound</Code>".into();
        let error = object_store::Error::Generic { store: "x", source };
        assert_eq!(kind_of(&error), ErrorKind::NotFound);
        let source = Box::new(refused(&error));
        let error = object_store::Error::Generic { store: "x", source };
        assert_eq!(kind_of(&error), ErrorKind::Unavailable);
        assert!(!claims_absence(&error));
    }

    /// Knows no new versions.
    #[derive(Debug)]
    struct Old;

    #[async_trait]
    impl HttpService for Old {
        async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
            let mut answer = http::Response::builder().status(200);
            if request.headers()[&VERSION] == STARTS_FROM {
                answer = answer.status(400).header(ERROR_CODE, "InvalidHeaderValue");
            }
            assert!(request.headers().contains_key("authorization"));
            Ok(answer.body(HttpResponseBody::from(String::new())).unwrap())
        }
    }

    #[tokio::test]
    async fn an_old_service_gives_lists_from_their_beginning() {
        let settings = crate::azure::AzureSettings::new("acc", "images");
        let key = object_store::azure::AzureAccessKey::try_new("a2V5").unwrap();
        let credential = object_store::azure::AzureCredential::AccessKey(key);
        let signing = Signing {
            client: HttpClient::new(Old),
            place: Arc::new(Place::new(&settings).unwrap()),
            credentials: Arc::new(object_store::StaticCredentialProvider::new(credential)),
            is_old: AtomicBool::new(false),
        };
        for query in ["restype=container&comp=list&startFrom=a", "restype=container&comp=list"] {
            let uri = format!("https://acc.blob.core.windows.net/images?{query}");
            let request = http::Request::builder().uri(uri).body(HttpRequestBody::empty()).unwrap();
            assert_eq!(signing.send(request).await.unwrap().status(), 200);
            assert!(signing.is_old.load(Ordering::Relaxed));
        }
    }

    #[test]
    fn the_code_of_a_head_becomes_its_document() {
        let answer = |status: u16| {
            let answer = http::Response::builder().status(status).header(ERROR_CODE, "BlobNotFound");
            answer.body(HttpResponseBody::from(String::new())).unwrap()
        };
        let body = |answer| futures_util::FutureExt::now_or_never(with_document(answer).into_body().bytes());
        assert_eq!(body(answer(404)).unwrap().unwrap(), "<Error><Code>BlobNotFound</Code></Error>");
        assert_eq!(body(answer(200)).unwrap().unwrap(), "");
    }
}
