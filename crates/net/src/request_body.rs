//! The body of a request, with a limit on how long the client may be silent.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use thiserror::Error;

use crate::stall::Stall;

/// Why a request body ended before its time.
#[derive(Debug, Error)]
pub enum RequestBodyError {
    /// The client sent nothing for the whole time limit. What came before is good.
    #[error("the client sent nothing for {0:?}")]
    Stalled(Duration),
    /// The connection broke, or the client broke the protocol. What came before is good.
    #[error("the request body was cut off")]
    Aborted(#[source] hyper::Error),
}

impl From<RequestBodyError> for io::Error {
    fn from(error: RequestBodyError) -> io::Error {
        let kind = match &error {
            RequestBodyError::Stalled(_) => io::ErrorKind::TimedOut,
            RequestBodyError::Aborted(_) => io::ErrorKind::ConnectionAborted,
        };
        io::Error::new(kind, error)
    }
}

/// A request body that fails with [`RequestBodyError::Stalled`] when the client is silent for `idle`. The clock runs
/// only while somebody waits for data.
pub struct RequestBody {
    inner: Incoming,
    idle: Duration,
    stall: Stall,
}

impl RequestBody {
    #[must_use]
    pub fn new(inner: Incoming, idle: Duration) -> RequestBody {
        RequestBody { inner, idle, stall: Stall::new(idle) }
    }

    /// The announced length in bytes; `None` for a chunked body.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.inner.size_hint().exact()
    }

    /// The next data, `None` at the end. Trailers are skipped. Cancel-safe.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, RequestBodyError>> {
        loop {
            match self.frame().await? {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Some(Ok(data));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(item) => {
                this.stall.progress();
                Poll::Ready(item.map(|frame| frame.map_err(RequestBodyError::Aborted)))
            }
            Poll::Pending => {
                let idle = this.idle;
                this.stall.poll_waiting(cx).map(|_| Some(Err(RequestBodyError::Stalled(idle))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
