//! Lines that break and services that are busy.

use super::{BUCKET, start};
use crate::content::{append, begin, whole};
use crate::{alike, proxy};
use bucket::Request;
use std::sync::atomic::Ordering;
use storage::{Batch, Driver, ErrorKind};

#[tokio::test(flavor = "multi_thread")]
async fn broken_lines_are_taken_up_again() {
    let Some(server) = start() else { return };
    let (address, faults) = proxy::start(server.address);
    let driver = server.try_open(|settings| settings.endpoint = Some(format!("http://{address}"))).await.unwrap();
    let data = alike::broken_lines_are_taken_up_again(&driver, &faults).await;
    // A small object is there as a whole or not at all, also when its content breaks off after the head of the answer.
    driver.apply(Batch::new().put("a/small", vec![7; 60_000])).await.unwrap();
    faults.down.store(40_000, Ordering::SeqCst);
    assert!(driver.get("a/small", 100_000).await.unwrap().iter().all(|byte| *byte == 7));
    assert_eq!(faults.done.load(Ordering::SeqCst), 5);
    alike::a_lost_answer_is_no_conflict(&driver, &faults, 1).await;
    // The answer to a composition is lost, and to a copy.
    for key in ["large/at", "large/later"] {
        let mut writer = begin(&driver, key, key == "large/at").await.unwrap();
        append(&mut writer, &data).await.unwrap();
        let done = faults.done.load(Ordering::SeqCst);
        faults.down.store(600, Ordering::SeqCst);
        writer.commit(key).await.unwrap();
        faults.down.store(0, Ordering::SeqCst);
        assert!(faults.done.load(Ordering::SeqCst) > done);
        assert!(whole(&driver, key).await == data);
    }
    alike::a_busy_service_has_everything(&driver, &faults, Request::Put).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_goes_is_not_empty() {
    let Some(server) = start() else { return };
    let driver = server.open().await;
    driver.apply(Batch::new().put("a/b", "1")).await.unwrap();
    assert!(driver.stat("a/c").await.unwrap_err().is_not_found());
    assert!(driver.get("a/c", 10).await.unwrap_err().is_not_found());
    driver.apply(Batch::new().delete("a/b").delete("homeport/v1/probe")).await.unwrap();
    let answer = server.ask("DELETE", &format!("/storage/v1/b/{BUCKET}"), "");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    alike::a_place_that_is_gone_is_not_empty(&driver).await;
    assert_eq!(driver.stat("a/b").await.unwrap_err().kind, ErrorKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_another_replica_gave_up_does_not_end() {
    let Some(server) = start() else { return };
    alike::what_another_replica_gave_up_does_not_end(&server.open().await, &server.open().await).await;
}
