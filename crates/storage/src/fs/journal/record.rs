//! The form of records. All numbers little endian.
//!
//! `magic u32 | crc u32 | epoch u64 | id u64 | kind u8 | length u32 | payload`; the checksum covers everything behind it.

use crate::{Batch, Op, PutMode};
use bytes::Bytes;

const MAGIC: u32 = 0x314a_5048; // "HPJ1"
const HEADER: usize = 4 + 4 + 8 + 8 + 1 + 4;
const KIND_BATCH: u8 = 1;
const KIND_ABORT: u8 = 2;

/// Upper bound of the encoded size.
pub(super) fn encoded_len(batch: &Batch) -> usize {
    let ops = batch.ops.iter().map(|op| match op {
        Op::Put { key, data, .. } => 7 + key.len() + data.len(),
        Op::Delete { key } => 7 + key.len(),
        Op::DeleteTree { prefix } => 7 + prefix.len(),
        Op::DeleteTreeIf { prefix, key, expected } => 9 + prefix.len() + key.len() + expected.len(),
    });
    HEADER + 4 + ops.sum::<usize>()
}

pub(super) fn encode(out: &mut Vec<u8>, epoch: u64, id: u64, batch: &Batch) {
    frame(out, epoch, id, KIND_BATCH, |out| {
        out.extend_from_slice(&u32::try_from(batch.ops.len()).unwrap_or(u32::MAX).to_le_bytes());
        for op in &batch.ops {
            let (kind, data): (u8, &[u8]) = match op {
                // Whether something was there is decided before a batch comes here.
                Op::Put { data, mode: PutMode::Replace | PutMode::Create, .. } => (1, data),
                Op::Put { data, mode: PutMode::Keep, .. } => (2, data),
                Op::Delete { .. } => (3, &[]),
                Op::DeleteTree { .. } => (4, &[]),
                Op::DeleteTreeIf { expected, .. } => (5, expected),
            };
            // Keys are at most 4,000 bytes and data at most INLINE_MAX: both were checked on the way in.
            out.push(kind);
            text(out, op.key());
            if let Op::DeleteTreeIf { key, .. } = op {
                text(out, key);
            }
            out.extend_from_slice(&u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend_from_slice(data);
        }
    });
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Of batch `aborted` only the first `applied` changes stand.
pub(super) fn encode_abort(out: &mut Vec<u8>, epoch: u64, id: u64, aborted: u64, applied: usize) {
    frame(out, epoch, id, KIND_ABORT, |out| {
        out.extend_from_slice(&aborted.to_le_bytes());
        out.extend_from_slice(&u32::try_from(applied).unwrap_or(u32::MAX).to_le_bytes());
    });
}

fn frame(out: &mut Vec<u8>, epoch: u64, id: u64, kind: u8, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&MAGIC.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&epoch.to_le_bytes());
    out.extend_from_slice(&id.to_le_bytes());
    out.push(kind);
    out.extend_from_slice(&[0; 4]);
    payload(out);
    let length = u32::try_from(out.len() - start - HEADER).unwrap_or(u32::MAX);
    out[start + HEADER - 4..start + HEADER].copy_from_slice(&length.to_le_bytes());
    let crc = crc32fast::hash(&out[start + 8..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

/// A record, read back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record {
    Batch { id: u64, batch: Batch },
    Abort { id: u64, applied: usize },
}

/// Reads all records of `epoch` up to the first that is not whole: behind it nothing was acknowledged.
pub(super) fn decode_all(bytes: &Bytes, epoch: u64) -> Vec<Record> {
    let mut records = Vec::new();
    let mut at = 0;
    while let Some((record, next)) = decode(bytes, at, epoch) {
        records.push(record);
        at = next;
    }
    records
}

fn decode(bytes: &Bytes, at: usize, epoch: u64) -> Option<(Record, usize)> {
    let header = bytes.get(at..at + HEADER)?;
    let mut reader = Reader { bytes: header, at: 0 };
    let (magic, crc) = (reader.u32()?, reader.u32()?);
    let (found, id, kind, length) = (reader.u64()?, reader.u64()?, reader.u8()?, reader.u32()? as usize);
    let end = at.checked_add(HEADER)?.checked_add(length)?;
    let checked = bytes.get(at + 8..end)?;
    if magic != MAGIC || found != epoch || crc32fast::hash(checked) != crc {
        return None;
    }
    let payload = bytes.slice(at + HEADER..end);
    let record = match kind {
        KIND_BATCH => Record::Batch { id, batch: decode_batch(&payload)? },
        KIND_ABORT => {
            let mut reader = Reader { bytes: &payload, at: 0 };
            Record::Abort { id: reader.u64()?, applied: reader.u32()? as usize }
        }
        _ => return None,
    };
    Some((record, end))
}

fn decode_batch(payload: &Bytes) -> Option<Batch> {
    let mut reader = Reader { bytes: payload, at: 0 };
    let count = reader.u32()?;
    let mut batch = Batch::new();
    for _ in 0..count {
        let kind = reader.u8()?;
        let key = reader.text()?;
        let condition = if kind == 5 { Some(reader.text()?) } else { None };
        let len = reader.u32()? as usize;
        let start = reader.at;
        reader.take(len)?;
        let data = payload.slice(start..start + len);
        batch.ops.push(match kind {
            1 => Op::Put { key, data, mode: PutMode::Replace },
            2 => Op::Put { key, data, mode: PutMode::Keep },
            3 => Op::Delete { key },
            4 => Op::DeleteTree { prefix: key },
            5 => Op::DeleteTreeIf { prefix: key, key: condition?, expected: data },
            _ => return None,
        });
    }
    Some(batch)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn text(&mut self) -> Option<String> {
        let len = usize::from(self.u16()?);
        std::str::from_utf8(self.take(len)?).ok().map(str::to_owned)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Batch {
        Batch::new()
            .put("a/b", "1")
            .keep("c", vec![7; 300])
            .delete("d")
            .delete_tree("e/f")
            .delete_tree_if("g", "g/h", "5")
    }

    #[test]
    fn records_read_back_until_the_first_torn_one() {
        let mut out = Vec::new();
        encode(&mut out, 5, 10, &sample());
        encode_abort(&mut out, 5, 11, 10, 3);
        let whole = out.len();
        encode(&mut out, 5, 12, &sample());
        let torn = Bytes::copy_from_slice(&out[..out.len() - 1]);
        let expected = vec![Record::Batch { id: 10, batch: sample() }, Record::Abort { id: 10, applied: 3 }];
        assert_eq!(decode_all(&torn, 5), expected);
        assert_eq!(decode_all(&torn, 6), vec![]);
        out[whole + 40] ^= 1;
        assert_eq!(decode_all(&out.into(), 5), expected);
    }

    proptest! {
        #[test]
        fn damaged_logs_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0usize..200, bit in 0u8..8) {
            decode_all(&bytes.into(), 0);
            let mut out = Vec::new();
            encode(&mut out, 0, 1, &sample());
            let at = at % out.len();
            out[at] ^= 1 << bit;
            prop_assert_eq!(decode_all(&out.into(), 0), vec![]);
        }
    }
}
