//! What is between the client library and the network: each attempt is counted and has its time.

use crate::requests::{Outcome, Request, Requests};
use bytes::Bytes;
use http_body::{Body, Frame};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::{ClientOptions, Result};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// Longest silence of the service, before and within an answer.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// The same where the service works before it answers: copies, and the end of a large object.
const WORK_MAX: Duration = Duration::from_secs(120);
/// Slowest line that is waited for when something is sent, in bytes a second.
const SLOWEST: u64 = 256 * 1024;

/// A service marks each of its answers; what stands before it does not.
const MARK: &str = "x-amz-request-id";

/// An address that sends requests to the service itself and not to what gives credentials.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    client: HttpClient,
    seen: Arc<Seen>,
}

/// What is known of the service.
#[derive(Debug)]
pub(crate) struct Seen {
    /// All attempts.
    pub(crate) requests: Arc<Requests>,
    start: Instant,
    /// Milliseconds after `start`, plus one, at which the bucket last did what was asked.
    served: AtomicU64,
    /// Its answers carry [`MARK`].
    marks: AtomicBool,
}

impl Seen {
    /// The bucket has answered a request lately.
    pub(crate) fn served_within(&self, age: Duration) -> bool {
        let served = self.served.load(Ordering::Relaxed);
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        served > 0 && u128::from(now.saturating_sub(served - 1)) <= age.as_millis()
    }

    fn note_served(&self, marked: bool) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(0);
        self.served.store(now + 1, Ordering::Relaxed);
        if marked {
            self.marks.store(true, Ordering::Relaxed);
        }
    }
}

impl Line {
    /// Counts everything that goes through `client`.
    pub(crate) fn new(client: HttpClient) -> Self {
        let seen = Arc::new(Seen {
            requests: Arc::default(),
            start: Instant::now(),
            served: AtomicU64::new(0),
            marks: AtomicBool::new(false),
        });
        let counted = Counted { client, seen: Arc::clone(&seen) };
        Self { client: HttpClient::new(counted), seen }
    }

    pub(crate) fn client(&self) -> &HttpClient {
        &self.client
    }

    pub(crate) fn seen(&self) -> &Arc<Seen> {
        &self.seen
    }
}

/// All stores of one bucket share their connections.
impl HttpConnector for Line {
    fn connect(&self, _options: &ClientOptions) -> Result<HttpClient> {
        Ok(self.client.clone())
    }
}

#[derive(Debug)]
struct Counted {
    client: HttpClient,
    seen: Arc<Seen>,
}

impl HttpService for Counted {
    fn call<'life0, 'async_trait>(
        &'life0 self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(self.send(request))
    }
}

impl Counted {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let kind = classify(&request);
        let silence = if matches!(kind, Request::Copy | Request::Complete) { WORK_MAX } else { SILENCE_MAX };
        let limit = silence + Duration::from_secs(request.body().content_length() as u64 / SLOWEST);
        let answer = match tokio::time::timeout(limit, self.client.execute(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(HttpError::new(HttpErrorKind::Timeout, Silence(limit))),
        };
        let Ok(mut answer) = answer else {
            self.seen.requests.count(kind, Outcome::Failed);
            return answer;
        };
        let marked = answer.headers().contains_key(MARK);
        self.seen.requests.count(kind, Outcome::of(answer.status().as_u16()));
        if answer.status().is_success() {
            self.seen.note_served(marked);
        } else if answer.status() == http::StatusCode::NOT_FOUND && !marked && self.seen.marks.load(Ordering::Relaxed) {
            // Not the service itself: something between us and it has lost it.
            *answer.status_mut() = http::StatusCode::BAD_GATEWAY;
        }
        let (parts, body) = answer.into_parts();
        let body = HttpResponseBody::new(Watched { body, limit: silence, alarm: None });
        Ok(HttpResponse::from_parts(parts, body))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
struct Silence(Duration);

/// A body that may not stop in the middle. Only the time in which somebody waits for it counts.
struct Watched {
    body: HttpResponseBody,
    limit: Duration,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.alarm = None;
            return Poll::Ready(frame);
        }
        let limit = self.limit;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        match alarm.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err(HttpError::new(HttpErrorKind::Timeout, Silence(limit))))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

fn classify(request: &HttpRequest) -> Request {
    let query = request.uri().query().unwrap_or_default();
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    let is_copy = request.headers().contains_key("x-amz-copy-source");
    match request.method().as_str() {
        "HEAD" => Request::Head,
        "PUT" if is_copy => Request::Copy,
        "PUT" if has("uploadId") => Request::Part,
        "PUT" => Request::Put,
        "POST" if has("uploads") => Request::Create,
        "POST" if has("uploadId") => Request::Complete,
        "POST" => Request::DeleteMany,
        "DELETE" if has("uploadId") => Request::Abort,
        "DELETE" => Request::Delete,
        _ if has("list-type") => Request::List,
        _ if has("uploads") || has("uploadId") => Request::Unfinished,
        _ => Request::Get,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::client::HttpRequestBody;

    #[test]
    fn requests_are_told_apart() {
        for (method, target, expected) in [
            ("HEAD", "/b/k", Request::Head),
            ("GET", "/b/k", Request::Get),
            ("GET", "/b?delimiter=/&list-type=2", Request::List),
            ("GET", "/b?uploads=&prefix=x", Request::Unfinished),
            ("PUT", "/b/k", Request::Put),
            ("PUT", "/b/k?partNumber=1&uploadId=x", Request::Part),
            ("POST", "/b/k?uploads=", Request::Create),
            ("POST", "/b/k?uploadId=x", Request::Complete),
            ("POST", "/b?delete", Request::DeleteMany),
            ("DELETE", "/b/k?uploadId=x", Request::Abort),
            ("DELETE", "/b/k", Request::Delete),
        ] {
            let uri = format!("http://host{target}");
            let request = http::Request::builder().method(method).uri(uri).body(HttpRequestBody::empty()).unwrap();
            assert_eq!(classify(&request), expected, "{method} {target}");
        }
    }

    /// Answers what it is told to, or never.
    #[derive(Debug)]
    struct Says(Option<(u16, bool)>);

    impl HttpService for Says {
        fn call<'life0, 'async_trait>(
            &'life0 self,
            _request: HttpRequest,
        ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'async_trait>>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(async move {
                let Some((status, marked)) = self.0 else { return std::future::pending().await };
                let mut answer = http::Response::builder().status(status);
                if marked {
                    answer = answer.header(MARK, "1");
                }
                Ok(answer.body(Bytes::new().into()).unwrap())
            })
        }
    }

    fn ask(line: &Line) -> impl Future<Output = Result<HttpResponse, HttpError>> {
        let request = http::Request::builder().method("HEAD").uri("http://host/b/k").body(HttpRequestBody::empty());
        let client = line.client().clone();
        async move { client.execute(request.unwrap()).await }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_and_a_404_of_somebody_else_is_none() {
        let silent = Line::new(HttpClient::new(Says(None)));
        assert_eq!(ask(&silent).await.unwrap_err().kind(), HttpErrorKind::Timeout);
        assert_eq!(silent.seen().requests.of(Request::Head, Outcome::Failed), 1);
        assert!(!silent.seen().served_within(Duration::MAX));

        let line = Line::new(HttpClient::new(Says(Some((404, false)))));
        assert_eq!(ask(&line).await.unwrap().status(), 404, "nothing is known of the service yet");
        line.seen().note_served(true);
        assert_eq!(ask(&line).await.unwrap().status(), 502);
        assert!(line.seen().served_within(Duration::from_secs(5)));
    }
}
