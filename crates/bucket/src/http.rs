//! What is between the client library and the network: each attempt is counted and has its time.

use crate::circuit::{Circuit, Entry, Failure};
use crate::error::all_of;
use crate::requests::{Outcome, Request, Requests};
use async_trait::async_trait;
use bytes::Bytes;
use http_body::{Body, Frame};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::{ClientOptions, Result};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// Longest silence of the service, before and within an answer.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// The same where the service works before it answers: copies, and the end of a large object.
const WORK_MAX: Duration = Duration::from_secs(120);
/// The same for a request that finds out whether the service is back.
const PROBE_MAX: Duration = Duration::from_secs(5);
/// Slowest line that is waited for when something is sent, in bytes a second.
const SLOWEST: u64 = 256 * 1024;

/// How a kind of service talks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dialect {
    /// Header that the service puts in each of its answers; what stands before it does not.
    pub(crate) mark: &'static str,
    /// What is asked for.
    pub(crate) classify: fn(&HttpRequest) -> Request,
}

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
    /// Whether it answers.
    pub(crate) circuit: Arc<Circuit>,
    start: Instant,
    /// Milliseconds after `start`, plus one, at which the bucket last did what was asked.
    served: AtomicU64,
    /// Kinds of requests whose answers carry [`Dialect::mark`]: one bit each.
    marks: AtomicU32,
}

impl Seen {
    /// The bucket has answered a request lately.
    pub(crate) fn served_within(&self, age: Duration) -> bool {
        let served = self.served.load(Ordering::Relaxed);
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        served > 0 && u128::from(now.saturating_sub(served - 1)) <= age.as_millis()
    }

    /// `marked` is the kind of an answer that carries the mark.
    fn note_served(&self, marked: Option<Request>) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(0);
        self.served.store(now + 1, Ordering::Relaxed);
        if let Some(kind) = marked {
            self.marks.fetch_or(1 << kind as u32, Ordering::Relaxed);
        }
    }
}

impl Line {
    /// Counts everything that goes through `client`.
    pub(crate) fn new(client: HttpClient, dialect: Dialect) -> Self {
        let seen = Arc::new(Seen {
            requests: Arc::default(),
            circuit: Arc::default(),
            start: Instant::now(),
            served: AtomicU64::new(0),
            marks: AtomicU32::new(0),
        });
        let counted = Counted { client, dialect, seen: Arc::clone(&seen) };
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
    dialect: Dialect,
    seen: Arc<Seen>,
}

#[async_trait]
impl HttpService for Counted {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.send(request).await
    }
}

impl Counted {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let kind = (self.dialect.classify)(&request);
        let writes = !matches!(*request.method(), http::Method::GET | http::Method::HEAD);
        let works = matches!(kind, Request::Copy | Request::Complete);
        let answers = self.seen.circuit.answers();
        // What takes long by itself finds nothing out.
        let silence = match self.seen.circuit.enter(!works) {
            Entry::Refused => return Err(HttpError::new(HttpErrorKind::Unknown, Open)),
            Entry::Probe => PROBE_MAX,
            Entry::Go if works => WORK_MAX,
            Entry::Go => SILENCE_MAX,
        };
        let limit = silence + Duration::from_secs(request.body().content_length() as u64 / SLOWEST);
        let answer = match tokio::time::timeout(limit, self.client.execute(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(HttpError::new(HttpErrorKind::Timeout, Silence(limit))),
        };
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.seen.requests.count(kind, Outcome::Failed);
                return Err(self.failed(error, answers));
            }
        };
        let marked = answer.headers().contains_key(self.dialect.mark);
        if !marked && self.is_foreign(kind, writes, answer.status()) {
            // Not the service itself: something between us and it has lost it, or has taken it.
            *answer.status_mut() = http::StatusCode::BAD_GATEWAY;
        }
        self.seen.requests.count(kind, Outcome::of(answer.status().as_u16()));
        if is_failure(answer.status()) {
            self.seen.circuit.failed(Failure::Error, answers, answer.status().as_str());
            if !self.seen.circuit.may_retry() {
                return Err(HttpError::new(HttpErrorKind::Unknown, NotAgain(answer.status().to_string())));
            }
        } else {
            self.seen.circuit.answered();
        }
        if answer.status().is_success() {
            self.seen.note_served(marked.then_some(kind));
        }
        let (parts, body) = answer.into_parts();
        let body = HttpResponseBody::new(Watched { body, limit: silence, alarm: None });
        Ok(HttpResponse::from_parts(parts, body))
    }
}

impl Counted {
    /// An answer without the mark is not the service's. That something was written is said by many: a proxy, the page of a
    /// login; a service may mark some kinds of answers only.
    fn is_foreign(&self, kind: Request, writes: bool, status: http::StatusCode) -> bool {
        let marks = self.seen.marks.load(Ordering::Relaxed);
        match status {
            http::StatusCode::NOT_FOUND => marks != 0,
            _ => writes && status.is_success() && marks & (1 << kind as u32) != 0,
        }
    }

    /// What to say to who would try again; `answers` as they were when it was sent.
    fn failed(&self, error: HttpError, answers: u64) -> HttpError {
        let kind = if error.kind() == HttpErrorKind::Timeout { Failure::Silence } else { Failure::Error };
        let text = all_of(&error);
        self.seen.circuit.failed(kind, answers, &text);
        let again = !matches!(error.kind(), HttpErrorKind::Unknown | HttpErrorKind::Decode);
        if !again || self.seen.circuit.may_retry() {
            return error;
        }
        HttpError::new(HttpErrorKind::Unknown, NotAgain(text))
    }
}

/// The service could not do what anybody asked for, as far as that can be told; a full bucket is another matter.
fn is_failure(status: http::StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502..=504)
}

#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
struct Silence(Duration);

#[derive(Debug, thiserror::Error)]
#[error("not sent: the service does not answer, and is asked once a second until it does")]
struct Open;

#[derive(Debug, thiserror::Error)]
#[error("{0}; not tried again, since too much fails")]
struct NotAgain(String);

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

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::client::HttpRequestBody;

    const MARK: &str = "x-service-id";
    const DIALECT: Dialect = Dialect { mark: MARK, classify: |_| Request::Head };

    /// Answers what it is told to, or never.
    #[derive(Debug)]
    struct Says(Option<(u16, bool)>);

    #[async_trait]
    impl HttpService for Says {
        async fn call(&self, _request: HttpRequest) -> Result<HttpResponse, HttpError> {
            let Some((status, marked)) = self.0 else { return std::future::pending().await };
            let mut answer = http::Response::builder().status(status);
            if marked {
                answer = answer.header(MARK, "1");
            }
            Ok(answer.body(Bytes::new().into()).unwrap())
        }
    }

    fn ask(line: &Line) -> impl Future<Output = Result<HttpResponse, HttpError>> {
        ask_for(line, "HEAD")
    }

    fn ask_for(line: &Line, method: &str) -> impl Future<Output = Result<HttpResponse, HttpError>> + use<> {
        let request = http::Request::builder().method(method).uri("http://host/b/k").body(HttpRequestBody::empty());
        let client = line.client().clone();
        async move { client.execute(request.unwrap()).await }
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_does_not_answer_is_left_alone() {
        let line = Line::new(HttpClient::new(Says(None)), DIALECT);
        let sent = || line.seen().requests.of(Request::Head, Outcome::Failed);
        while !line.seen().circuit.is_open() {
            assert_eq!(ask(&line).await.unwrap_err().kind(), HttpErrorKind::Timeout);
        }
        assert_eq!(sent(), 2);
        let begun = tokio::time::Instant::now();
        let error = ask(&line).await.unwrap_err();
        assert_eq!(error.kind(), HttpErrorKind::Unknown, "nobody tries that again");
        assert_eq!((sent(), begun.elapsed()), (2, Duration::ZERO));
        tokio::time::advance(Duration::from_secs(1)).await;
        ask(&line).await.unwrap_err();
        assert_eq!(sent(), 3);
        assert!(begun.elapsed() < Duration::from_secs(7), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_service_refuses_is_an_answer() {
        for status in [400, 403, 404, 409, 412, 429, 501, 507] {
            let line = Line::new(HttpClient::new(Says(Some((status, true)))), DIALECT);
            for _ in 0..200 {
                assert_eq!(ask(&line).await.unwrap().status(), status);
                tokio::time::advance(Duration::from_millis(100)).await;
            }
        }
        let line = Line::new(HttpClient::new(Says(Some((503, true)))), DIALECT);
        let mut answers = 0;
        while ask(&line).await.is_ok() {
            answers += 1;
        }
        assert_eq!(answers, 64, "and then whoever would try again is told not to");
        assert_eq!(line.seen().circuit.retries_refused(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_and_a_404_of_somebody_else_is_none() {
        let silent = Line::new(HttpClient::new(Says(None)), DIALECT);
        assert_eq!(ask(&silent).await.unwrap_err().kind(), HttpErrorKind::Timeout);
        assert_eq!(silent.seen().requests.of(Request::Head, Outcome::Failed), 1);
        assert!(!silent.seen().served_within(Duration::MAX));

        let line = Line::new(HttpClient::new(Says(Some((404, false)))), DIALECT);
        assert_eq!(ask(&line).await.unwrap().status(), 404, "nothing is known of the service yet");
        line.seen().note_served(Some(Request::Head));
        assert_eq!(ask(&line).await.unwrap().status(), 502);
        assert!(line.seen().served_within(Duration::from_secs(5)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_somebody_else_has_taken_is_not_written() {
        let line = Line::new(HttpClient::new(Says(Some((200, false)))), DIALECT);
        line.seen().note_served(Some(Request::Put));
        assert_eq!(ask_for(&line, "PUT").await.unwrap().status(), 200, "a kind of answer that has no mark");
        line.seen().note_served(Some(Request::Head));
        assert_eq!(ask_for(&line, "PUT").await.unwrap().status(), 502);
        assert_eq!(ask_for(&line, "HEAD").await.unwrap().status(), 200);
        let marked = Line::new(HttpClient::new(Says(Some((200, true)))), DIALECT);
        for _ in 0..2 {
            assert_eq!(ask_for(&marked, "PUT").await.unwrap().status(), 200);
        }
    }
}
