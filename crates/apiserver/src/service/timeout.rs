//! How long an answer may take until its last byte.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::Stream;
use http::Response;
use hyper::body::Body as _;
use net::Body;
use tokio::time::{Sleep, sleep_until};

/// Cuts a streamed answer that is not out by then. Whole ones are bounded by what a stalled client may take.
pub(super) fn limit(response: Response<Body>, until: Instant) -> Response<Body> {
    if response.body().length().is_some() {
        return response;
    }
    response.map(|body| Body::stream(Limited { body, sleep: Box::pin(sleep_until(until.into())) }, None))
}

struct Limited {
    body: Body,
    sleep: Pin<Box<Sleep>>,
}

impl Stream for Limited {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.sleep.as_mut().poll(cx).is_ready() {
                let text = "the answer was not taken within the time of a request";
                return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, text))));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                // Our own bodies have no trailers.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => return Poll::Ready(Some(Ok(data))),
                    Err(_) => continue,
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// Reads a duration as Go writes it, such as `32s` or `1m30s`; `None` for what is none or is negative.
pub(super) fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 7] =
        [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).filter(|at| *at > 0)?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, next) = tail.split_at(end);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        seconds += number.parse::<f64>().ok()? * factor;
        rest = next;
    }
    if text.is_empty() { None } else { Duration::try_from_secs_f64(seconds).ok() }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn what_is_not_out_in_time_is_cut() {
        let endless = stream::once(async { Ok(Bytes::from_static(b"[")) }).chain(stream::pending());
        let response = limit(Response::new(Body::stream(endless, None)), Instant::now() + Duration::from_millis(20));
        let mut body = response.into_body().into_data_stream();
        assert_eq!(body.next().await.unwrap().unwrap(), "[");
        assert_eq!(body.next().await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(body.next().await.is_none());
        let whole = limit(Response::new(Body::full("x")), Instant::now());
        assert_eq!(whole.into_body().collect().await.unwrap().to_bytes(), "x");
    }

    #[tokio::test]
    async fn what_is_out_in_time_is_whole() {
        let chunks = stream::iter(["[", "]"].map(|text| Ok(Bytes::from_static(text.as_bytes()))));
        let response = limit(Response::new(Body::stream(chunks, None)), Instant::now() + Duration::from_secs(60));
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "[]");
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, expected) in [
            ("32s", Some(Duration::from_secs(32))),
            ("1m30s", Some(Duration::from_secs(90))),
            ("1.5h", Some(Duration::from_secs(5400))),
            ("100ms", Some(Duration::from_millis(100))),
            ("0", Some(Duration::ZERO)),
            ("0s", Some(Duration::ZERO)),
            ("", None),
            ("30", None),
            ("s", None),
            ("-1s", None),
            ("1x", None),
            ("1.2.3s", None),
            ("999999999999999999999999h", None),
        ] {
            assert_eq!(duration(text), expected, "{text}");
        }
    }
}
