//! Reading objects.

use crate::children;
use crate::driver::Shared;
use crate::error::{claims_absence, io_error, kind_of, wrap};
use bytes::{Bytes, BytesMut};
use futures_util::stream::{BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{Attribute, Attributes, GetOptions, GetResult, ObjectMeta};
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use storage::{ByteStream, Error, ErrorKind, Object, ObjectBody, RemoteObject, Result, Stat};

/// Metadata of a small object: when it was written, since the services' own clocks tick in seconds and what changes
/// together has one time.
pub(crate) const TIME: &str = "homeport-time";

/// Among the extensions of a read: something hangs on it, so that an older state of the object will not do where a service
/// has such.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latest;

/// A bucket that has answered this lately is there.
const SERVED_LATELY: Duration = Duration::from_secs(3);

/// How often in a row a broken answer is taken up again without a byte of it arriving.
const RESUMES_MAX: u32 = 3;
const RESUME_PAUSE: Duration = Duration::from_millis(200);

fn stat_of(meta: &ObjectMeta, attributes: &Attributes) -> Stat {
    let written = attributes.get(&Attribute::Metadata(TIME.into())).and_then(|text| decode_time(text));
    let modified = written.unwrap_or_else(|| SystemTime::from(meta.last_modified));
    Stat { size: meta.size, modified, own: written.is_some() }
}

/// Seconds and nanoseconds since 1970.
pub(crate) fn encode_time(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}

fn decode_time(text: &str) -> Option<SystemTime> {
    let (seconds, nanos) = text.split_once('.')?;
    let nanos = (nanos.len() == 9).then(|| nanos.parse().ok()).flatten()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds.parse().ok()?, nanos))
}

fn missing(operation: &'static str, key: &str) -> Error {
    Error::new(ErrorKind::NotFound, operation, key, "no such key")
}

async fn head(shared: &Shared, operation: &'static str, key: &str, path: &Path) -> Result<GetResult> {
    for _ in 0..2 {
        let options = GetOptions { head: true, ..GetOptions::default() };
        let error = match shared.bucket.objects().get_opts(path, options).await {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        if !claims_absence(&error) {
            return Err(wrap(operation, key, &error));
        }
        if shared.seen.served_within(SERVED_LATELY) || !children::exists_below(shared, path.as_ref()).await? {
            return Err(missing(operation, key));
        }
        // Either it has just come, or longer keys begin like this one: now the bucket is known to be there.
    }
    Err(missing(operation, key))
}

/// [`storage::Driver::stat`].
pub(crate) async fn stat(shared: &Shared, key: &str) -> Result<Stat> {
    let path = shared.keys.path(key)?;
    let found = head(shared, "stat", key, &path).await?;
    Ok(stat_of(&found.meta, &found.attributes))
}

/// [`storage::Driver::read`].
pub(crate) async fn read(shared: &Shared, key: &str, max: usize) -> Result<(Stat, Bytes)> {
    let found = read_by(shared, key, max, GetOptions::default()).await?;
    Ok((found.stat, found.data))
}

/// A small object.
pub(crate) struct Found {
    pub(crate) stat: Stat,
    pub(crate) data: Bytes,
    /// Changes when the content does.
    pub(crate) mark: Option<String>,
}

/// The same for who decides by it; see [`Latest`].
pub(crate) async fn read_latest(shared: &Shared, key: &str, max: usize) -> Result<Found> {
    let mut options = GetOptions::default();
    options.extensions.insert(Latest);
    read_by(shared, key, max, options).await
}

async fn read_by(shared: &Shared, key: &str, max: usize, options: GetOptions) -> Result<Found> {
    let path = shared.keys.path(key)?;
    let too_large = || Error::new(ErrorKind::TooLarge, "get", key, "larger than expected");
    let found = shared.bucket.objects().get_opts(&path, options).await;
    let found = found.map_err(|error| wrap("get", key, &error))?;
    let (stat, mark) = (stat_of(&found.meta, &found.attributes), found.meta.e_tag.clone());
    if stat.size > max as u64 {
        return Err(too_large());
    }
    let mut stream = found.into_stream();
    let mut data = BytesMut::new();
    let size = usize::try_from(stat.size).unwrap_or(max);
    while let Some(bytes) = stream.next().await {
        let bytes = bytes.map_err(|error| wrap("get", key, &error))?;
        if data.is_empty() && bytes.len() as u64 == stat.size {
            return Ok(Found { stat, data: bytes, mark });
        }
        data.reserve(size.saturating_sub(data.len()));
        data.extend_from_slice(&bytes);
        if data.len() > max {
            return Err(too_large());
        }
    }
    if data.len() as u64 != stat.size {
        return Err(Error::new(ErrorKind::Unavailable, "get", key, "the answer ended early"));
    }
    Ok(Found { stat, data: data.freeze(), mark })
}

/// [`storage::Driver::open`].
pub(crate) async fn open(shared: &Arc<Shared>, key: &str) -> Result<Object> {
    let path = shared.keys.path(key)?;
    let found = head(shared, "open", key, &path).await?;
    let meta = found.meta;
    let remote = Remote { shared: Arc::clone(shared), path, mark: meta.e_tag, size: meta.size };
    Ok(Object { size: meta.size, body: ObjectBody::Remote(Arc::new(remote)) })
}

/// [`storage::Driver::presign`].
pub(crate) async fn presign(shared: &Shared, key: &str, ttl: Duration) -> Result<Option<String>> {
    let path = shared.keys.path(key)?;
    shared.bucket.signed(&path, ttl).await.map_err(|error| wrap("sign", key, &error))
}

/// An object that stays where it is.
struct Remote {
    shared: Arc<Shared>,
    path: Path,
    /// Changes when the object does.
    mark: Option<String>,
    size: u64,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("path", &self.path.as_ref()).field("size", &self.size).finish()
    }
}

impl RemoteObject for Remote {
    fn read(self: Arc<Self>, range: Range<u64>) -> ByteStream {
        let end = range.end.min(self.size);
        let mark = self.mark.clone();
        let reading = Reading { object: self, left: range.start.min(end)..end, mark, answer: None, failures: 0 };
        Box::pin(futures_util::stream::try_unfold(reading, |mut reading| async move {
            Ok(reading.next().await?.map(|bytes| (bytes, reading)))
        }))
    }
}

/// A range on its way. An answer that breaks is taken up again where it ended, if the object is still the same.
struct Reading {
    object: Arc<Remote>,
    left: Range<u64>,
    mark: Option<String>,
    answer: Option<BoxStream<'static, object_store::Result<Bytes>>>,
    failures: u32,
}

impl Reading {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while !self.left.is_empty() {
            let error = match self.step().await {
                Ok(Some(bytes)) => {
                    self.failures = 0;
                    self.left.start += bytes.len() as u64;
                    return Ok(Some(bytes));
                }
                Ok(None) => io::ErrorKind::UnexpectedEof.into(),
                Err(error) => {
                    let kind = kind_of(&error);
                    let same = kind != ErrorKind::Conflict || self.is_written_again().await;
                    if kind == ErrorKind::NotFound || !same {
                        return Err(io_error(&error));
                    }
                    io_error(&error)
                }
            };
            self.answer = None;
            self.failures += 1;
            if self.failures > RESUMES_MAX {
                return Err(error);
            }
            tracing::debug!(%error, object = ?self.object, at = self.left.start, "taking up a broken answer");
            tokio::time::sleep(RESUME_PAUSE * self.failures).await;
        }
        Ok(None)
    }

    /// Somebody has written the object once more. Keys name their content, so that it is the same as before.
    async fn is_written_again(&mut self) -> bool {
        let options = GetOptions { head: true, ..GetOptions::default() };
        match self.object.shared.bucket.objects().get_opts(&self.object.path, options).await {
            Ok(found) if found.meta.size == self.object.size => {
                self.mark = found.meta.e_tag;
                true
            }
            _ => false,
        }
    }

    async fn step(&mut self) -> object_store::Result<Option<Bytes>> {
        let mut answer = match self.answer.take() {
            Some(answer) => answer,
            None => {
                let whole = self.left == (0..self.object.size);
                let options = GetOptions {
                    range: (!whole).then(|| self.left.clone().into()),
                    if_match: self.mark.clone(),
                    ..GetOptions::default()
                };
                self.object.shared.bucket.objects().get_opts(&self.object.path, options).await?.into_stream()
            }
        };
        let bytes = answer.next().await.transpose()?;
        self.answer = Some(answer);
        let most = usize::try_from(self.left.end - self.left.start).unwrap_or(usize::MAX);
        Ok(bytes.map(|bytes| if bytes.len() > most { bytes.slice(..most) } else { bytes }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_nanoseconds() {
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_763_000_000, 1_234_567);
        assert_eq!(encode_time(time), "1763000000.001234567");
        assert_eq!(decode_time(&encode_time(time)), Some(time));
        for bad in ["", "1", "1.5", "x.000000000", "1.00000000x", "99999999999999999999.000000000"] {
            assert_eq!(decode_time(bad), None, "{bad}");
        }
    }
}
