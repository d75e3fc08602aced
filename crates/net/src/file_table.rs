//! Which addresses of this connection's output stand for bytes of a file.
//!
//! hyper hands body slices to the socket without reading them, but it hands over addresses only. A body that wants
//! `sendfile` maps its range, registers the addresses here, and the socket looks every slice up before it writes. One table per connection keeps the look-up to one or two entries and the lock uncontended.

use std::fs::File;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
pub(crate) struct FileTable {
    /// Number of entries, so that connections without a file never take the lock.
    used: AtomicUsize,
    entries: Mutex<Vec<Entry>>,
    sent: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    start: usize,
    len: usize,
    file: Arc<File>,
    offset: u64,
}

/// The file bytes behind a slice; the length is that of the slice.
#[derive(Debug)]
pub(crate) struct Hit {
    pub(crate) file: Arc<File>,
    pub(crate) offset: u64,
}

impl FileTable {
    pub(crate) fn insert(&self, range: &[u8], file: Arc<File>, offset: u64) {
        let entry = Entry { start: address(range), len: range.len(), file, offset };
        let mut entries = self.lock();
        entries.push(entry);
        self.used.store(entries.len(), Ordering::Release);
    }

    /// Must run before the range is unmapped, or a later allocation at the same address would be taken for the file.
    pub(crate) fn remove(&self, range: &[u8]) {
        let start = address(range);
        let mut entries = self.lock();
        if let Some(at) = entries.iter().position(|entry| entry.start == start) {
            entries.swap_remove(at);
        }
        self.used.store(entries.len(), Ordering::Release);
    }

    /// Finds the file that a slice stands for; `None` for ordinary memory.
    pub(crate) fn find(&self, slice: &[u8]) -> Option<Hit> {
        if self.used.load(Ordering::Acquire) == 0 {
            return None;
        }
        let start = address(slice);
        self.lock().iter().find_map(|entry| {
            let into = start.checked_sub(entry.start)?;
            let inside = into.checked_add(slice.len())? <= entry.len;
            inside.then(|| Hit { file: Arc::clone(&entry.file), offset: entry.offset + into as u64 })
        })
    }

    pub(crate) fn record_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes that left through `sendfile` so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        // No code panics while it holds the lock, and a list of entries has no half-done state.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn address(range: &[u8]) -> usize {
    range.as_ptr() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_only_slices_that_lie_inside_a_range() {
        let table = FileTable::default();
        let memory = [0u8; 80];
        let registered = &memory[10..50];
        let file = Arc::new(tempfile::tempfile().unwrap());
        assert!(table.find(registered).is_none());

        table.insert(registered, file, 1_000);
        assert_eq!(table.find(registered).unwrap().offset, 1_000);
        assert_eq!(table.find(&registered[15..]).unwrap().offset, 1_015);
        assert!(table.find(&memory[5..20]).is_none(), "begins before");
        assert!(table.find(&memory[40..60]).is_none(), "ends behind");

        table.remove(registered);
        assert!(table.find(registered).is_none());
    }
}
