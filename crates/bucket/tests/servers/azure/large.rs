//! Large objects.

use crate::content::{append, begin, pattern, whole, write};
use crate::{alike, wire};
use bucket::{Leftovers, Request};
use std::time::Duration;
use storage::{Batch, Driver, ErrorKind};

#[tokio::test(flavor = "multi_thread")]
async fn parts_go_to_the_final_key_or_are_copied() {
    let Some(server) = super::start() else { return };
    let driver = server.lowered().await;
    alike::large_objects_are_seen_whole(&driver, &pattern((13 << 20) + 5)).await;
    assert_eq!(driver.requests().all(Request::Part), 6);
    assert_eq!(driver.requests().all(Request::Copy), 3);
    alike::nothing_is_left(&driver).await;
}

/// Two clients push the same: whoever ends first takes the parts of the other one away, and both have succeeded.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_from_two_at_once() {
    let Some(server) = super::start() else { return };
    let (first, second) = (server.lowered().await, server.lowered().await);
    let data = pattern(11 << 20);
    let mut one = first.writer_at("large/data", None).await.unwrap();
    let mut two = second.writer_at("large/data", None).await.unwrap();
    append(&mut one, &data[..6 << 20]).await.unwrap();
    append(&mut two, &data).await.unwrap();
    two.commit("large/data").await.unwrap();
    append(&mut one, &data[6 << 20..]).await.unwrap();
    one.commit("large/data").await.unwrap();
    assert!(whole(&first, "large/data").await == data);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_processes_go_on() {
    let Some(server) = super::start() else { return };
    for at in [true, false] {
        alike::other_processes_go_on(async || server.lowered().await, at, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unlike_attempts_do_not_mix() {
    let Some(server) = super::start() else { return };
    for at in [true, false] {
        alike::unlike_attempts_do_not_mix(async || server.lowered().await, at, true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_broken_off_is_never_seen() {
    let Some(server) = super::start() else { return };
    let driver = server.lowered().await;
    let data = pattern(11 << 20);
    for at in [true, false] {
        let mut writer = begin(&driver, "large/broken/data", at).await.unwrap();
        append(&mut writer, &data).await.unwrap();
        let handle = writer.suspend().await.unwrap();
        drop(writer);
        alike::discard(&driver, &handle, data.len()).await;
        let mut writer = driver.writer(None).await.unwrap();
        append(&mut writer, &data).await.unwrap();
        writer.abort().await.unwrap();
    }
    assert_eq!(driver.stat("large/broken/data").await.unwrap_err().kind, ErrorKind::NotFound);
    // A tail that nobody knows goes when it is old.
    let mut writer = driver.writer(None).await.unwrap();
    append(&mut writer, &data[..1000]).await.unwrap();
    drop(writer.suspend().await.unwrap());
    drop(writer);
    let young = driver.remove_leftovers(&["large"], Duration::from_secs(3600)).await.unwrap();
    assert_eq!(young, Leftovers::default());
    let old = driver.remove_leftovers(&["large"], Duration::ZERO).await.unwrap();
    assert_eq!(old, Leftovers { uploads: 0, objects: 1 });
    // Parts that were left do not get into what comes after them.
    write(&driver, "large/broken/data", true, &data[..7 << 20]).await.unwrap();
    assert!(whole(&driver, "large/broken/data").await == data[..7 << 20]);
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_addresses_need_no_credentials() {
    let Some(server) = super::start() else { return };
    for slash in [false, true] {
        let driver = server.try_open(|settings| settings.leading_slash = Some(slash)).await.unwrap();
        driver.apply(Batch::new().put("blob/data", "content")).await.unwrap();
        let url = driver.presign("blob/data", Duration::from_secs(60)).await.unwrap().unwrap();
        let target = url.strip_prefix(&format!("http://{}", server.address)).unwrap();
        let send = |method: &str, target: &str| wire::ask(server.address, method, target);
        assert!(send("GET", target).ends_with("content"), "{}", send("GET", target));
        assert!(send("GET", &target.replace("blob/data", "blog/data")).starts_with("HTTP/1.1 403"));
        assert!(send("DELETE", target).starts_with("HTTP/1.1 403"), "it is good for reading only");
    }
}
