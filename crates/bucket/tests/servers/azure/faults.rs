//! Lines that break and services that are busy.

use super::{ACCOUNT, CONTAINER, ROOT};
use crate::content::{append, pattern, whole, write};
use crate::{alike, between, proxy};
use bucket::{Outcome, Request};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use storage::{Batch, Driver, ErrorKind};

#[tokio::test(flavor = "multi_thread")]
async fn broken_lines_are_taken_up_again() {
    let Some(server) = super::start() else { return };
    let (address, faults) = proxy::start(server.address);
    let through = |settings: &mut bucket::azure::AzureSettings| {
        settings.service_url = Some(format!("http://{address}/{ACCOUNT}"));
    };
    let driver = server.try_open(through).await.unwrap();
    let data = alike::broken_lines_are_taken_up_again(&driver, &faults).await;
    driver.apply(Batch::new().put("a/b", "1")).await.unwrap();
    // The answers to a deletion and a copy are lost.
    faults.down.store(1, Ordering::SeqCst);
    driver.apply(Batch::new().delete("a/b")).await.unwrap();
    assert!(driver.stat("a/b").await.unwrap_err().is_not_found());
    let mut writer = driver.writer(None).await.unwrap();
    append(&mut writer, &data).await.unwrap();
    let handle = writer.suspend().await.unwrap();
    drop(writer);
    let writer = driver.resume(&handle, data.len() as u64).await.unwrap();
    faults.down.store(1, Ordering::SeqCst);
    writer.commit("large/again").await.unwrap();
    assert!(whole(&driver, "large/again").await == data);
    faults.down.store(0, Ordering::SeqCst);
    alike::a_busy_service_has_everything(&driver, &faults, Request::Put).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_goes_is_not_empty() {
    let Some(server) = super::start() else { return };
    let driver = server.open().await;
    driver.apply(Batch::new().put("a/b", "1")).await.unwrap();
    assert!(driver.stat("a/c").await.unwrap_err().is_not_found());
    let gone = server.request("DELETE", &format!("/{CONTAINER}?restype=container"), &[], b"");
    assert!(gone.starts_with("HTTP/1.1 202"), "{gone}");
    alike::a_place_that_is_gone_is_not_empty(&driver).await;
    assert_eq!(driver.stat("a/b").await.unwrap_err().kind, ErrorKind::Unavailable);
}

/// A blob of another kind is in the way, and broken. When it goes, somebody has written it anew.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_come_meanwhile_is_not_deleted() {
    let Some(server) = super::start().map(Arc::new) else { return };
    let key = format!("{ROOT}/a/data");
    server.append(&key, b"broken");
    let (target, other) = (format!("DELETE /{ACCOUNT}/{CONTAINER}/{key} "), Arc::downgrade(&server));
    let address = between::start(server.address, move |head| {
        if head.starts_with(&target) {
            other.upgrade().unwrap().append(&key, b"anew");
        }
        None
    });
    let through = |settings: &mut bucket::azure::AzureSettings| {
        settings.service_url = Some(format!("http://{address}/{ACCOUNT}"));
    };
    let (behind, direct) = (server.try_open(through).await.unwrap(), server.open().await);
    let data = pattern(9 << 20);
    assert_eq!(write(&behind, "a/data", false, &data).await.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(whole(&direct, "a/data").await, b"anew");
    assert_eq!(behind.requests().of(Request::Delete, Outcome::Conflict), 1);
    // Nobody comes in between.
    write(&direct, "a/data", false, &data).await.unwrap();
    assert!(whole(&direct, "a/data").await == data);
}
