//! Large objects.

use super::start;
use crate::alike;
use crate::content::{append, pattern, whole, write};
use bucket::gcs::GcsSettings;
use bucket::{BucketDriver, Outcome, Request};
use std::time::Duration;
use storage::{Batch, Driver, ErrorKind};

const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/gcs-key.json");

async fn nothing_is_left(driver: &BucketDriver) {
    alike::nothing_is_left(driver).await;
    assert!(driver.list("homeport/v1/uploads", "", 10).await.unwrap().names.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_become_one_object() {
    let Some(server) = start() else { return };
    let driver = server.lowered().await;
    alike::large_objects_are_seen_whole(&driver, &pattern((13 << 20) + 5)).await;
    assert_eq!(driver.requests().all(Request::Part), 6);
    assert_eq!(driver.requests().of(Request::Complete, Outcome::Ok), 2);
    assert_eq!(driver.requests().all(Request::Copy), 1);
    nothing_is_left(&driver).await;
}

/// More parts than the service composes at once.
#[tokio::test(flavor = "multi_thread")]
async fn many_parts_are_composed_in_steps() {
    let Some(server) = start() else { return };
    let driver = server.lowered().await;
    let mut data = vec![0; 33 * (5 << 20) + 1];
    for (number, byte) in data.iter_mut().step_by(1 << 20).enumerate() {
        *byte = u8::try_from(number).unwrap();
    }
    write(&driver, "large/data", true, &data).await.unwrap();
    assert_eq!(driver.requests().all(Request::Part), 34);
    assert_eq!(driver.requests().of(Request::Complete, Outcome::Ok), 3);
    assert!(whole(&driver, "large/data").await == data);
    nothing_is_left(&driver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_processes_go_on() {
    let Some(server) = start() else { return };
    for at in [true, false] {
        alike::other_processes_go_on(async || server.lowered().await, at, 2).await;
        nothing_is_left(&server.lowered().await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unlike_attempts_do_not_mix() {
    let Some(server) = start() else { return };
    for at in [true, false] {
        alike::unlike_attempts_do_not_mix(async || server.lowered().await, at, true).await;
    }
}

/// The parts are one object, but nobody learnt of it: the next attempt ends well, and one after that finds nothing to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_repeated() {
    let Some(server) = start() else { return };
    let driver = server.lowered().await;
    let data = pattern((7 << 20) + 9);
    let mut writer = driver.writer(None).await.unwrap();
    append(&mut writer, &data).await.unwrap();
    let handle = writer.suspend().await.unwrap();
    drop(writer);
    let attempts = [
        driver.resume(&handle, data.len() as u64).await.unwrap(),
        driver.resume(&handle, data.len() as u64).await.unwrap(),
    ];
    let [first, second] = attempts;
    first.commit("large/first").await.unwrap();
    let session_is_gone = second.commit("large/second").await.unwrap_err();
    assert_eq!(session_is_gone.kind, ErrorKind::NotFound, "{session_is_gone} {}", session_is_gone.source);
    assert!(whole(&driver, "large/first").await == data);
    assert_eq!(driver.stat("large/second").await.unwrap_err().kind, ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_broken_off_is_removed_when_it_is_old() {
    let Some(server) = start() else { return };
    let driver = server.lowered().await;
    alike::what_is_broken_off_is_removed_when_it_is_old(&driver, true).await;
    nothing_is_left(&driver).await;
}

/// The emulator looks at no signature: this is about the form. The signature itself is checked against Google's samples.
#[tokio::test(flavor = "multi_thread")]
async fn signed_addresses_lead_to_the_object() {
    let Some(server) = start() else { return };
    let driver = server.open().await;
    driver.apply(Batch::new().put("blob/data", "content")).await.unwrap();
    assert_eq!(driver.presign("blob/data", Duration::from_secs(60)).await.unwrap(), None, "nobody can sign");
    let with_key = |settings: &mut GcsSettings| settings.key_file = Some(KEY.into());
    let driver = server.try_open(with_key).await.unwrap();
    let url = driver.presign("blob/data", Duration::from_secs(60)).await.unwrap().unwrap();
    let target = url.strip_prefix(&format!("http://{}", server.address)).unwrap();
    assert!(target.starts_with("/images/some/place/blob/data?X-Goog-Algorithm=GOOG4-RSA-SHA256&"), "{url}");
    assert!(server.ask("GET", target, "").ends_with("content"));
    let elsewhere = |settings: &mut GcsSettings| {
        settings.credentials = Some(std::fs::read_to_string(KEY).unwrap());
        settings.redirect_endpoint = Some("https://store.example.com".to_owned());
    };
    let driver = server.try_open(elsewhere).await.unwrap();
    let url = driver.presign("blob/data", Duration::from_secs(60)).await.unwrap().unwrap();
    assert!(url.starts_with("https://store.example.com/images/some/place/blob/data?"), "{url}");
}
