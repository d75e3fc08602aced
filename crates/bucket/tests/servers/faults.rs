//! Lines that break and services that are busy.

use crate::large::{append, pattern, read};
use crate::proxy;
use crate::server::{self, Kind};
use bucket::{Outcome, Request};
use futures_util::StreamExt;
use std::sync::atomic::Ordering;
use storage::{Batch, Driver, ErrorKind, ObjectBody};

#[tokio::test(flavor = "multi_thread")]
async fn broken_lines_are_taken_up_again() {
    let Some(server) = server::start(Kind::Versity) else { return };
    let (address, faults) = proxy::start(server.address);
    let driver =
        server.try_open(|settings| settings.region_endpoint = Some(format!("http://{address}"))).await.unwrap();
    let data = pattern(18 << 20);
    // In the middle of the second part.
    faults.up.store(12 << 20, Ordering::SeqCst);
    let mut writer = driver.writer_at("large/data", None).await.unwrap();
    append(&mut writer, &data).await.unwrap();
    writer.commit("large/data").await.unwrap();
    assert_eq!(faults.done.load(Ordering::SeqCst), 1);
    for cut in [100_000, 7 << 20, 17 << 20] {
        faults.down.store(cut, Ordering::SeqCst);
        assert!(read(&driver, "large/data", 1000..u64::MAX).await.unwrap() == data[1000..], "cut after {cut}");
    }
    assert_eq!(faults.done.load(Ordering::SeqCst), 4);
    // More often than the client library has patience for.
    let ObjectBody::Remote(object) = driver.open("large/data").await.unwrap().body else { unreachable!() };
    let (mut stream, mut read, mut next) = (object.read(0..u64::MAX), Vec::new(), 0);
    while let Some(bytes) = stream.next().await {
        read.extend_from_slice(&bytes.unwrap());
        if read.len() > next {
            faults.down.store(400_000, Ordering::SeqCst);
            next = read.len() + (1 << 20);
        }
    }
    assert!(read == data);
    assert!(faults.done.load(Ordering::SeqCst) > 10);
    faults.down.store(0, Ordering::SeqCst);
    faults.busy.store(2, Ordering::SeqCst);
    driver.apply(Batch::new().create("a/b", "1")).await.unwrap();
    assert_eq!(&driver.get("a/b", 10).await.unwrap()[..], b"1");
    assert_eq!(driver.requests().of(Request::Put, Outcome::Slow), 2);
    // The answer to a create is lost: it has happened, and is no conflict with itself.
    let conflicts = || driver.requests().of(Request::Put, Outcome::Conflict);
    let before = conflicts();
    faults.down.store(1, Ordering::SeqCst);
    driver.apply(Batch::new().create("a/c", "1")).await.unwrap();
    assert_eq!(conflicts() - before, 1);
    assert_eq!(driver.apply(Batch::new().create("a/c", "1")).await.unwrap_err().kind, ErrorKind::Conflict);
    faults.busy.store(1000, Ordering::SeqCst);
    for error in [driver.get("a/b", 10).await.unwrap_err(), driver.stat("a/b").await.unwrap_err()] {
        assert_eq!(error.kind, ErrorKind::Unavailable, "a busy service has everything");
    }
    assert!(driver.probe().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_goes_is_not_empty() {
    let Some(server) = server::start(Kind::Versity) else { return };
    let driver = server.open().await;
    driver.apply(Batch::new().put("a/b", "1")).await.unwrap();
    assert!(driver.stat("a/c").await.unwrap_err().is_not_found());
    let bucket = server.folder().join("data").join(server::BUCKET);
    std::fs::rename(&bucket, server.folder().join("elsewhere")).unwrap();
    assert_eq!(driver.get("a/b", 10).await.unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(driver.apply(Batch::new().put("a/b", "1")).await.unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(driver.list("a", "", 10).await.unwrap_err().kind, ErrorKind::Unavailable);
    assert!(driver.probe().await.is_err());
}
