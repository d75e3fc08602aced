//! One file of the log. It is filled with zeros ahead of its end and used again and again, so that a sync writes data only.

use super::super::disk::Disk;
use rustix::fs::OFlags;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// Records start here; the header has the block before to itself.
pub(super) const RECORDS_AT: u64 = 4096;
const MAGIC: &[u8; 8] = b"HPJSEG01";
/// The file grows by this much at a time.
const GROW_BYTES: u64 = 1 << 20;

pub(super) struct Segment {
    path: String,
    file: File,
    epoch: AtomicU64,
    end: AtomicU64,
    allocated: AtomicU64,
}

impl Segment {
    pub(super) fn create(disk: &Disk, path: String) -> io::Result<Self> {
        let file = disk.create(&path, OFlags::empty())?;
        let segment = Self { file, epoch: 1.into(), end: RECORDS_AT.into(), allocated: 0.into(), path };
        segment.grow(disk, RECORDS_AT + 1)?;
        disk.sync_file(&segment.file, &segment.path)?;
        Ok(segment)
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Where the next record goes.
    pub(super) fn len(&self) -> u64 {
        self.end.load(Ordering::SeqCst)
    }

    /// Starts anew; the header is written with the first records.
    pub(super) fn activate(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::SeqCst);
        self.end.store(RECORDS_AT, Ordering::SeqCst);
    }

    /// Writes records behind the last ones and syncs. On an error nothing of it counts; when that is for want of space,
    /// it can be tried again.
    pub(super) fn append(&self, disk: &Disk, records: &[u8]) -> Result<(), (&'static str, io::Error)> {
        let end = self.len();
        self.grow(disk, end + records.len() as u64).map_err(|error| ("extend the journal in", error))?;
        if let Err((operation, error)) = self.write(disk, end, records) {
            // Callers are told "no". So no start may find the records, nor a part of them behind shorter ones.
            return match self.wipe(disk, end, records.len()) {
                Ok(()) => Err((operation, error)),
                Err(wiping) => Err(("take back records in", io::Error::other(format!("{wiping}, after {error}")))),
            };
        }
        self.end.store(end + records.len() as u64, Ordering::SeqCst);
        Ok(())
    }

    fn write(&self, disk: &Disk, end: u64, records: &[u8]) -> Result<(), (&'static str, io::Error)> {
        let write = |at, bytes: &[u8]| disk.write_at(&self.file, &self.path, at, bytes);
        if end == RECORDS_AT {
            write(0, &header(self.epoch())).map_err(|error| ("write the journal in", error))?;
        }
        write(end, records).map_err(|error| ("write the journal in", error))?;
        disk.sync_file(&self.file, &self.path).map_err(|error| ("sync the journal in", error))
    }

    fn wipe(&self, disk: &Disk, at: u64, len: usize) -> io::Result<()> {
        disk.write_at(&self.file, &self.path, at, &vec![0; len])?;
        disk.sync_file(&self.file, &self.path)
    }

    /// Declares all records to be in the tree.
    pub(super) fn release(&self, disk: &Disk) -> io::Result<()> {
        disk.write_at(&self.file, &self.path, 0, &header(0))?;
        disk.sync_file(&self.file, &self.path)
    }

    fn grow(&self, disk: &Disk, needed: u64) -> io::Result<()> {
        let mut allocated = self.allocated.load(Ordering::SeqCst);
        if allocated >= needed {
            return Ok(());
        }
        let zeros = vec![0; usize::try_from(GROW_BYTES).unwrap_or(0)];
        while allocated < needed {
            disk.write_at(&self.file, &self.path, allocated, &zeros)?;
            allocated += GROW_BYTES;
        }
        self.allocated.store(allocated, Ordering::SeqCst);
        Ok(())
    }
}

fn header(epoch: u64) -> [u8; 20] {
    let mut out = [0; 20];
    out[..8].copy_from_slice(MAGIC);
    out[8..16].copy_from_slice(&epoch.to_le_bytes());
    let crc = crc32fast::hash(&out[..16]);
    out[16..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// The epoch in a header; 0 for a segment without records.
pub(super) fn read_epoch(bytes: &[u8]) -> u64 {
    let Some(head) = bytes.get(..20) else { return 0 };
    let epoch = head[8..16].try_into().map(u64::from_le_bytes).unwrap_or(0);
    if head == header(epoch) { epoch } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::super::record::{Record, decode_all, encode};
    use super::*;
    use crate::Batch;

    /// A sync may fail for want of space after the records were written.
    #[test]
    fn refused_records_are_not_found_behind_others() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path(), None).unwrap();
        let segment = Segment::create(&disk, "0".to_owned()).unwrap();
        let records = |ids: &[u64]| {
            let mut out = Vec::new();
            ids.iter().for_each(|id| encode(&mut out, 1, *id, &Batch::new().put("key", "value")));
            out
        };
        let found = || {
            let bytes = bytes::Bytes::from(std::fs::read(dir.path().join("0")).unwrap());
            let id = |record: &Record| if let Record::Batch { id, .. } = record { *id } else { 0 };
            let records = bytes.slice(usize::try_from(RECORDS_AT).unwrap()..);
            decode_all(&records, read_epoch(&bytes)).iter().map(id).collect::<Vec<_>>()
        };
        segment.append(&disk, &records(&[1])).unwrap();
        let refused = records(&[2, 3]);
        segment.write(&disk, segment.len(), &refused).unwrap();
        segment.wipe(&disk, segment.len(), refused.len()).unwrap();
        assert_eq!(found(), [1]);
        segment.append(&disk, &records(&[4])).unwrap();
        assert_eq!(found(), [1, 4]);
    }
}
