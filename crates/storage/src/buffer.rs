//! Page-aligned buffers for uploads, reused, bounded in number.

use std::ops::Deref;
use std::sync::{Arc, Mutex};

/// Size of a buffer: large enough that a disk runs at full speed, small enough that four of them per upload are nothing.
pub const BUFFER_BYTES: usize = 1 << 20;

/// Direct I/O wants addresses that are multiples of the block size.
const ALIGNMENT: usize = 4096;

/// A place of [`BUFFER_BYTES`] bytes at an aligned address, filled from the front.
pub struct Buffer {
    memory: Vec<u8>,
    start: usize,
    len: usize,
    pool: Option<Arc<BufferPool>>,
}

impl Buffer {
    fn allocate() -> Self {
        let memory = vec![0; BUFFER_BYTES + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Self { memory, start, len: 0, pool: None }
    }

    /// Copies as much of `bytes` as fits; returns how much.
    pub fn fill(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(BUFFER_BYTES - self.len);
        let at = self.start + self.len;
        self.memory[at..at + count].copy_from_slice(&bytes[..count]);
        self.len += count;
        count
    }

    /// No space left.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len == BUFFER_BYTES
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.give_back(std::mem::take(&mut self.memory), self.start);
        }
    }
}

/// Keeps some buffers for the next upload.
pub struct BufferPool {
    idle: Mutex<Vec<(Vec<u8>, usize)>>,
    idle_max: usize,
}

impl BufferPool {
    /// A pool that keeps at most `idle_max` unused buffers.
    #[must_use]
    pub fn new(idle_max: usize) -> Arc<Self> {
        Arc::new(Self { idle: Mutex::new(Vec::new()), idle_max })
    }

    /// An empty buffer.
    #[must_use]
    pub fn take(self: &Arc<Self>) -> Buffer {
        let idle = self.idle.lock().ok().and_then(|mut idle| idle.pop());
        let mut buffer = match idle {
            Some((memory, start)) => Buffer { memory, start, len: 0, pool: None },
            None => Buffer::allocate(),
        };
        buffer.pool = Some(Arc::clone(self));
        buffer
    }

    fn give_back(&self, memory: Vec<u8>, start: usize) {
        if let Ok(mut idle) = self.idle.lock()
            && idle.len() < self.idle_max
        {
            idle.push((memory, start));
        }
    }
}
