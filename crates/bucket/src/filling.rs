//! The part that is being filled.

use crate::budget::Share;
use bytes::Bytes;
use object_store::PutPayload;
use std::sync::Arc;
use storage::{BUFFER_BYTES, Buffer};

/// A buffer as the client library takes it.
struct Chunk(Arc<Buffer>);

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Buffers in order; all are full but the last one. Each has its unit in `share`.
#[derive(Default)]
pub(crate) struct Filling {
    full: Vec<Arc<Buffer>>,
    open: Option<Buffer>,
    pub(crate) share: Share,
}

impl Filling {
    pub(crate) fn new(share: Share) -> Self {
        Self { full: Vec::new(), open: None, share }
    }

    pub(crate) fn len(&self) -> usize {
        self.full.len() * BUFFER_BYTES + self.open.as_ref().map_or(0, |open| open.len())
    }

    /// The next byte begins a buffer.
    pub(crate) fn is_aligned(&self) -> bool {
        self.open.is_none()
    }

    /// There is memory for one more buffer.
    pub(crate) fn has_room(&self) -> bool {
        self.share.units() > self.full.len() + usize::from(self.open.is_some())
    }

    /// Takes a full buffer as it is.
    pub(crate) fn push(&mut self, buffer: Arc<Buffer>) {
        self.full.push(buffer);
    }

    /// Begins a buffer.
    pub(crate) fn begin(&mut self, buffer: Buffer) {
        self.open = Some(buffer);
    }

    /// Copies as much as fits into the last buffer; returns how much.
    pub(crate) fn fill(&mut self, bytes: &[u8]) -> usize {
        let Some(mut open) = self.open.take() else { return 0 };
        let count = open.fill(bytes);
        if open.is_full() {
            self.full.push(Arc::new(open));
        } else {
            self.open = Some(open);
        }
        count
    }

    /// What is there so far, after `head`; it may go on.
    pub(crate) fn copy(&self, head: Bytes) -> PutPayload {
        let full = self.full.iter().map(|buffer| Bytes::from_owner(Chunk(Arc::clone(buffer))));
        let open = self.open.as_ref().map(|open| Bytes::copy_from_slice(open));
        let head = (!head.is_empty()).then_some(head);
        head.into_iter().chain(full).chain(open).collect()
    }

    /// All of it, and the memory to give back when it is sent.
    pub(crate) fn end(mut self) -> (PutPayload, Share) {
        self.share.settle();
        let buffers = self.full.into_iter().chain(self.open.map(Arc::new));
        (buffers.map(|buffer| Bytes::from_owner(Chunk(buffer))).collect(), self.share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage::BufferPool;

    fn bytes(payload: &PutPayload) -> Vec<u8> {
        payload.iter().flat_map(|bytes| bytes.iter().copied()).collect()
    }

    #[test]
    fn nothing_is_lost_at_the_edges_of_buffers() {
        let pool = BufferPool::new(2);
        let mut filling = Filling::default();
        let mut full = pool.take();
        full.fill(&vec![1; BUFFER_BYTES]);
        filling.push(Arc::new(full));
        filling.begin(pool.take());
        assert!(!filling.is_aligned());
        assert_eq!(filling.fill(&[2; 10]), 10);
        assert_eq!(filling.copy(Bytes::from_static(b"head")).content_length(), 4 + BUFFER_BYTES + 10);
        assert_eq!(filling.fill(&vec![3; BUFFER_BYTES]), BUFFER_BYTES - 10);
        assert!(filling.is_aligned() && filling.fill(&[4]) == 0);
        assert_eq!(filling.len(), 2 * BUFFER_BYTES);
        let (payload, _) = filling.end();
        let expected = [vec![1; BUFFER_BYTES], vec![2; 10], vec![3; BUFFER_BYTES - 10]].concat();
        assert!(bytes(&payload) == expected);
    }
}
