//! The mapping that stands for a file range. It is a token: nothing reads it as long as `sendfile` works.

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::{Mmap, MmapOptions};

use crate::file_table::FileTable;

struct Token {
    map: Mmap,
    files: Arc<FileTable>,
}

impl AsRef<[u8]> for Token {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        // Before the field is dropped, that is, before the address can belong to something else.
        self.files.remove(&self.map);
    }
}

/// Maps a range and registers it with the connection; the registration ends with the last clone of the result.
/// Untouched pages cost no memory, so a mapping of 1 GiB takes address space only.
pub(super) fn map(file: &Arc<File>, offset: u64, length: u64, files: &Arc<FileTable>) -> io::Result<Bytes> {
    let length = usize::try_from(length).map_err(io::Error::other)?;
    // A mapping may reach behind the end of the file, so a wrong range shows up later, as a `sendfile` of 0 bytes.
    #[expect(unsafe_code, reason = "a memory mapping is what makes sendfile possible without changing hyper")]
    // SAFETY: the slice must not change while somebody reads it. Callers pass files that are never modified again, and
    // the bytes are not read at all on the way to `sendfile`: hyper passes slices to the socket by address.
    let map = unsafe { MmapOptions::new().offset(offset).len(length).map(&**file) }?;
    files.insert(&map, Arc::clone(file), offset);
    Ok(Bytes::from_owner(Token { map, files: Arc::clone(files) }))
}
