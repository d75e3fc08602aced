//! Conditions are decided before a batch is logged. A replay finds the tree in some state between the first and the last
//! record: there the condition of an early record may fail because a later one, or half of its own deletion, is in the
//! tree already; or hold because of a later put, and then delete what was never deleted.
//!
//! Nothing changes between the decision and the deletion: the batch holds its locks, and no other process is there.

use super::disk::Disk;
use crate::{Batch, INLINE_MAX, Op, PutMode};
use bytes::Bytes;
use std::io::{self, Read};

/// The batch without conditions: what holds is a plain change, a deletion whose condition does not is left out. An error
/// names its key.
pub(super) fn resolve(disk: &Disk, batch: Batch) -> Result<Batch, (String, io::Error)> {
    let mut ops = Vec::with_capacity(batch.ops.len());
    for op in batch.ops {
        match op {
            Op::DeleteTreeIf { prefix, key, expected } => match value(disk, &ops, &key) {
                Ok(found) if found.as_ref() == Some(&expected) => ops.push(Op::DeleteTree { prefix }),
                Ok(_) => {}
                Err(error) => return Err((key, error)),
            },
            Op::Put { key, data, mode: PutMode::Create } => match value(disk, &ops, &key) {
                Ok(None) => ops.push(Op::Put { key, data, mode: PutMode::Replace }),
                Ok(Some(_)) => return Err((key, io::ErrorKind::AlreadyExists.into())),
                Err(error) => return Err((key, error)),
            },
            other => ops.push(other),
        }
    }
    Ok(Batch { ops, locks: batch.locks, at_once: Vec::new(), soon: None })
}

/// What `key` holds after `ops`.
fn value(disk: &Disk, ops: &[Op], key: &str) -> io::Result<Option<Bytes>> {
    let Some((last, before)) = ops.split_last() else { return read(disk, key) };
    match last {
        Op::Put { key: put, data, .. } if put == key => Ok(Some(data.clone())),
        Op::Delete { key: gone } if gone == key => Ok(None),
        Op::DeleteTree { prefix } if is_below(key, prefix) => Ok(None),
        _ => value(disk, before, key),
    }
}

fn is_below(key: &str, prefix: &str) -> bool {
    key.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// More than a batch can hold equals nothing that is expected; its end is of no interest.
fn read(disk: &Disk, key: &str) -> io::Result<Option<Bytes>> {
    use rustix::io::Errno;
    let file: std::fs::File = match disk.open_file(key) {
        Ok(file) => file.into(),
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut data = Vec::new();
    match file.take(INLINE_MAX as u64 + 1).read_to_end(&mut data) {
        Ok(_) => Ok(Some(data.into())),
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_see_what_the_batch_does_before() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("t")).unwrap();
        std::fs::write(dir.path().join("t/k"), "1").unwrap();
        let disk = Disk::open(dir.path(), None).unwrap();
        let deletes = |batch: Batch| {
            let ops = resolve(&disk, batch.delete_tree_if("t", "t/k", "1")).unwrap().ops;
            ops.last() == Some(&Op::DeleteTree { prefix: "t".to_owned() })
        };
        for (batch, expected) in [
            (Batch::new(), true),
            (Batch::new().put("t/k", "2"), false),
            (Batch::new().put("t/k", "2").put("t/k", "1"), true),
            (Batch::new().keep("t/k", "1"), true),
            (Batch::new().keep("t/k", "2"), false),
            (Batch::new().delete("t/k"), false),
            (Batch::new().delete("t/k").keep("t/k", "2"), false),
            (Batch::new().delete_tree("t").put("x", "1"), false),
            (Batch::new().delete_tree("tt"), true),
            (Batch::new().delete_tree_if("t", "t/none", "1"), true),
        ] {
            assert_eq!(deletes(batch.clone()), expected, "{batch:?}");
        }
    }
}
