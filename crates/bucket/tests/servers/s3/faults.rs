//! Lines that break and services that are busy.

use super::Kind;
use crate::content::{append, pattern, whole};
use crate::{alike, between, proxy};
use bucket::Request;
use futures_util::StreamExt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use storage::{Batch, Driver, ErrorKind, ObjectBody};

#[tokio::test(flavor = "multi_thread")]
async fn broken_lines_are_taken_up_again() {
    for server in super::those(&[Kind::Versity, Kind::Ceph]) {
        let (address, faults) = proxy::start(server.address);
        let driver =
            server.try_open(|settings| settings.region_endpoint = Some(format!("http://{address}"))).await.unwrap();
        let data = alike::broken_lines_are_taken_up_again(&driver, &faults).await;
        // More often than the client library has patience for.
        let ObjectBody::Remote(object) = driver.open("large/data").await.unwrap().body else { unreachable!() };
        let before = faults.done.load(Ordering::SeqCst);
        faults.down_again.store(1 << 20, Ordering::SeqCst);
        faults.down.store(1 << 20, Ordering::SeqCst);
        let (mut stream, mut read) = (object.read(0..u64::MAX), Vec::new());
        while let Some(bytes) = stream.next().await {
            read.extend_from_slice(&bytes.unwrap());
        }
        assert!(read == data);
        assert!(faults.done.load(Ordering::SeqCst) - before > 10);
        faults.down_again.store(0, Ordering::SeqCst);
        faults.down.store(0, Ordering::SeqCst);
        alike::a_lost_answer_is_no_conflict(&driver, &faults, 1).await;
        alike::a_busy_service_has_everything(&driver, &faults, Request::Put).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_goes_is_not_empty() {
    let Some(server) = super::start(Kind::Versity) else { return };
    let driver = server.open().await;
    driver.apply(Batch::new().put("a/b", "1")).await.unwrap();
    assert!(driver.stat("a/c").await.unwrap_err().is_not_found());
    let bucket = server.folder().join("data").join(super::BUCKET);
    std::fs::rename(&bucket, server.folder().join("elsewhere")).unwrap();
    alike::a_place_that_is_gone_is_not_empty(&driver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_answer_is_left_alone_until_it_is_back() {
    const SOON: Duration = Duration::from_secs(30);
    // Who is not refused tries again for a quarter of a minute, or waits longer for a silent service.
    const AT_ONCE: Duration = Duration::from_secs(10);
    const REFUSED_MAX: Duration = Duration::from_secs(90);
    for server in super::those(&[Kind::Versity, Kind::Ceph]) {
        let (address, faults) = proxy::start(server.address);
        let driver =
            server.try_open(|settings| settings.region_endpoint = Some(format!("http://{address}"))).await.unwrap();
        driver.apply(Batch::new().put("a/b", "1")).await.unwrap();
        let (circuit, sent) = (driver.circuit(), || driver.requests().total());
        faults.busy.store(usize::MAX, Ordering::SeqCst);
        // Many at once: what is tried again does not add up.
        let before = sent();
        let reads = futures_util::future::join_all((0..200).map(|_| driver.get("a/b", 10))).await;
        assert!(reads.iter().all(|read| read.as_ref().is_err_and(|error| error.kind == ErrorKind::Unavailable)));
        assert!(sent() - before <= 200 + 64, "{} requests", sent() - before);
        let deadline = Instant::now() + SOON;
        while !circuit.is_open() {
            assert!(Instant::now() < deadline);
            assert_eq!(driver.stat("a/b").await.unwrap_err().kind, ErrorKind::Unavailable);
        }
        let (before, begun) = (sent(), Instant::now());
        let mut slowest = Duration::ZERO;
        while begun.elapsed() < Duration::from_secs(3) || circuit.refused() <= 100 {
            assert!(begun.elapsed() < REFUSED_MAX, "{} were refused", circuit.refused());
            let begun = Instant::now();
            assert_eq!(driver.get("a/b", 10).await.unwrap_err().kind, ErrorKind::Unavailable);
            assert_eq!(driver.list("a", "", 10).await.unwrap_err().kind, ErrorKind::Unavailable);
            let put = driver.apply(Batch::new().create("a/c", "1"));
            assert_eq!(put.await.unwrap_err().kind, ErrorKind::Unavailable);
            slowest = slowest.max(begun.elapsed());
        }
        let (sent, took) = (sent() - before, begun.elapsed());
        assert!(slowest < AT_ONCE, "{slowest:?}");
        assert!(sent <= 2 + took.as_secs(), "{sent} requests in {took:?}");
        faults.busy.store(0, Ordering::SeqCst);
        let begun = Instant::now();
        while driver.get("a/b", 10).await.is_err() {
            assert!(begun.elapsed() < SOON);
        }
        assert!(!circuit.is_open());
        driver.apply(Batch::new().create("a/c", "1")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_full_is_read_and_no_outage() {
    let Some(server) = super::start(Kind::Versity) else { return };
    let (address, faults) = proxy::start(server.address);
    let driver =
        server.try_open(|settings| settings.region_endpoint = Some(format!("http://{address}"))).await.unwrap();
    driver.apply(Batch::new().put("a/b", "1")).await.unwrap();
    faults.full.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        for batch in [Batch::new().put("a/b", "2"), Batch::new().create("a/c", "2"), Batch::new().keep("a/d", "2")] {
            assert_eq!(driver.apply(batch).await.unwrap_err().kind, ErrorKind::NoSpace);
        }
    }
    let mut writer = driver.writer_at("large/data", None).await.unwrap();
    append(&mut writer, &pattern(1000)).await.unwrap();
    let written = writer.commit("large/data").await;
    assert_eq!(written.unwrap_err().kind, ErrorKind::NoSpace);
    assert!(!driver.circuit().is_open());
    assert_eq!(&driver.get("a/b", 10).await.unwrap()[..], b"1");
    driver.apply(Batch::new().delete("a/b")).await.unwrap();
    faults.full.store(false, Ordering::SeqCst);
    driver.apply(Batch::new().create("a/c", "2")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_another_replica_gave_up_does_not_end() {
    for server in super::those(&[Kind::Versity, Kind::Ceph]) {
        alike::what_another_replica_gave_up_does_not_end(&server.open().await, &server.open().await).await;
    }
}

/// What has claimed the end of an upload is gone before it can be read.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_goes_is_in_nobodys_way() {
    let Some(server) = super::start(Kind::Versity) else { return };
    let uploads = server.folder().join("data").join(super::BUCKET).join("some/place/homeport/v1/uploads");
    let claimed = Arc::new(Mutex::new(String::new()));
    let goes = Arc::clone(&claimed);
    let address = between::start(server.address, move |head| {
        let (line, mut claim) = (head.lines().next().unwrap_or_default(), goes.lock().unwrap());
        if line.starts_with("GET ") && !claim.is_empty() && line.contains(&*claim) {
            std::fs::remove_file(uploads.join(std::mem::take(&mut *claim))).unwrap();
        }
        None
    });
    let behind =
        server.try_open(|settings| settings.region_endpoint = Some(format!("http://{address}"))).await.unwrap();
    let data = pattern(9 << 20);
    let mut writer = behind.writer(None).await.unwrap();
    append(&mut writer, &data).await.unwrap();
    let handle = writer.suspend().await.unwrap();
    drop(writer);
    let id = serde_json::from_str::<serde_json::Value>(&handle).unwrap()["id"].as_str().unwrap().to_owned();
    *claimed.lock().unwrap() = format!("{id}.end");
    server.open().await.apply(Batch::new().create(format!("homeport/v1/uploads/{id}.end"), "discarded")).await.unwrap();
    behind.resume(&handle, data.len() as u64).await.unwrap().commit("large/data").await.unwrap();
    assert_eq!(*claimed.lock().unwrap(), "", "it was looked at");
    assert!(whole(&behind, "large/data").await == data);
    alike::nothing_is_left(&behind).await;
}
