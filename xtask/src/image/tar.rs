//! Tar archives (ustar) that hold nothing of the machine or the moment: root's files, of the year 1970, in the order given.

const BLOCK: usize = 512;

pub(super) struct Entry {
    path: String,
    mode: u32,
    kind: u8,
    content: Vec<u8>,
}

impl Entry {
    /// `path` ends in a slash.
    pub(super) fn folder(path: &str) -> Self {
        Self { path: path.to_owned(), mode: 0o755, kind: b'5', content: Vec::new() }
    }

    pub(super) fn file(path: &str, mode: u32, content: Vec<u8>) -> Self {
        Self { path: path.to_owned(), mode, kind: b'0', content }
    }
}

pub(super) fn pack(entries: &[Entry]) -> Vec<u8> {
    let size: usize = entries.iter().map(|entry| BLOCK + entry.content.len().next_multiple_of(BLOCK)).sum();
    let mut out = Vec::with_capacity(size + 2 * BLOCK);
    for entry in entries {
        out.extend_from_slice(&header(entry));
        out.extend_from_slice(&entry.content);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    // Two empty blocks are the end.
    out.resize(out.len() + 2 * BLOCK, 0);
    out
}

fn header(entry: &Entry) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    // Our paths are short; a longer one would be cut by the assertion of a test, not in an archive.
    put(0, &entry.path.as_bytes()[..entry.path.len().min(100)]);
    put(100, format!("{:07o}", entry.mode).as_bytes());
    put(108, b"0000000"); // user
    put(116, b"0000000"); // group
    put(124, format!("{:011o}", entry.content.len()).as_bytes());
    put(136, b"00000000000"); // time
    put(148, b"        "); // the checksum counts as spaces in itself
    put(156, &[entry.kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().copied().map(u32::from).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}
