//! gzip of whole bodies and of streams.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::Stream;

/// The whole body; `None` if it cannot be packed, and is sent as it is.
pub(super) fn pack(bytes: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

/// A stream whose every piece can be unpacked when it arrives.
pub(super) struct Packed<S> {
    inner: Pin<Box<S>>,
    /// Gone when the stream has ended.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl<S> Packed<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner: Box::pin(inner), encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())) }
    }
}

impl<S: Stream<Item = io::Result<Bytes>>> Stream for Packed<S> {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(mut encoder) = self.encoder.take() else { return Poll::Ready(None) };
        let next = match self.inner.as_mut().poll_next(cx) {
            Poll::Pending => {
                self.encoder = Some(encoder);
                return Poll::Pending;
            }
            Poll::Ready(next) => next,
        };
        Poll::Ready(Some(match next {
            Some(Ok(chunk)) => encoder.write_all(&chunk).and_then(|()| encoder.flush()).map(|()| {
                let packed = std::mem::take(encoder.get_mut());
                self.encoder = Some(encoder);
                packed.into()
            }),
            // Without the end mark the client sees that something is missing.
            Some(Err(error)) => Err(error),
            None => encoder.finish().map(Bytes::from),
        }))
    }
}
