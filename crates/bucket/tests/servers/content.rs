//! Content that is written and read.

use bucket::BucketDriver;
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage::{Batch, BufferPool, Driver, ObjectBody, Writer};

/// A bucket that has answered this lately is there.
const SERVED_LATELY: Duration = Duration::from_secs(3);

pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| u8::try_from((index + index / 65_536) * 31 % 251).unwrap()).collect()
}

pub(crate) async fn append(writer: &mut Box<dyn Writer>, mut data: &[u8]) -> storage::Result<()> {
    let pool = BufferPool::new(4);
    while !data.is_empty() {
        let mut buffer = pool.take();
        let count = buffer.fill(data);
        data = &data[count..];
        writer.append(Arc::new(buffer)).await?;
    }
    Ok(())
}

/// Begins an upload, whose key is known (`at`) or only at its end.
pub(crate) async fn begin(driver: &BucketDriver, key: &str, at: bool) -> storage::Result<Box<dyn Writer>> {
    if at { driver.writer_at(key, None).await } else { driver.writer(None).await }
}

pub(crate) async fn write(driver: &BucketDriver, key: &str, at: bool, data: &[u8]) -> storage::Result<()> {
    let mut writer = begin(driver, key, at).await?;
    append(&mut writer, data).await?;
    writer.commit(key).await
}

pub(crate) async fn read(driver: &BucketDriver, key: &str, range: std::ops::Range<u64>) -> std::io::Result<Vec<u8>> {
    let ObjectBody::Remote(object) = driver.open(key).await.unwrap().body else { unreachable!() };
    let mut stream = object.read(range);
    let mut data = Vec::new();
    while let Some(bytes) = stream.next().await {
        data.extend_from_slice(&bytes?);
    }
    Ok(data)
}

pub(crate) async fn whole(driver: &BucketDriver, key: &str) -> Vec<u8> {
    read(driver, key, 0..u64::MAX).await.unwrap()
}

pub(crate) async fn names(driver: &BucketDriver, prefix: &str, after: &str, limit: usize) -> (Vec<String>, bool) {
    let page = driver.list(prefix, after, limit).await.unwrap();
    (page.range.clone().map(|index| page.names.at(index).text.to_owned()).collect(), page.more)
}

/// Each call says how many requests the service got since the one before.
pub(crate) fn requests_since(driver: &BucketDriver) -> impl FnMut() -> u64 + use<> {
    let requests = driver.requests();
    let mut last = requests.total();
    move || {
        let before = std::mem::replace(&mut last, requests.total());
        last - before
    }
}

/// So many requests find that something is missing. One more looks at the bucket itself if its last answer before, which came
/// after `served`, is old: this machine is slow.
#[track_caller]
pub(crate) fn missed_with(asked: u64, expected: u64, served: Instant) {
    let looked = served.elapsed() > SERVED_LATELY && asked == expected + 1;
    assert!(looked || asked == expected, "{asked} requests instead of {expected}");
}

/// What a driver that has written `a/c` asks to keep it, and another one. `in_vain`: to look for what is gone, and create it.
pub(crate) async fn keeping_costs(driver: &BucketDriver, other: &BucketDriver, in_vain: u64) {
    let (mut since, mut since_other) = (requests_since(driver), requests_since(other));
    driver.apply(Batch::new().keep("a/c", "2")).await.unwrap();
    assert_eq!(since(), 1, "what it has written is looked at");
    other.apply(Batch::new().keep("a/c", "2")).await.unwrap();
    assert_eq!(since_other(), 2, "a condition that does not hold, and a look");
    other.apply(Batch::new().delete("a/c")).await.unwrap();
    driver.apply(Batch::new().keep("a/c", "2")).await.unwrap();
    assert_eq!(since(), in_vain, "a look in vain");
    assert_eq!(&other.get("a/c", 10).await.unwrap()[..], b"2");
}
