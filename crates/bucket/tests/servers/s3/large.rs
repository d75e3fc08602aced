//! Large objects.

use super::Kind;
use crate::content::{append, pattern, whole, write};
use crate::{alike, between, wire};
use bucket::Request;
use bucket::s3::S3Settings;
use futures_util::StreamExt;
use std::time::Duration;
use storage::{Driver, ErrorKind, ObjectBody};

#[tokio::test(flavor = "multi_thread")]
async fn parts_go_to_the_final_key_or_are_copied() {
    for server in super::all() {
        let driver = server.lowered().await;
        alike::large_objects_are_seen_whole(&driver, &pattern((13 << 20) + 5)).await;
        assert_eq!(driver.requests().all(Request::Part), 6);
        assert_eq!(driver.requests().all(Request::Copy), 3);
        alike::nothing_is_left(&driver).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_processes_go_on() {
    for server in super::all() {
        for at in [true, false] {
            alike::other_processes_go_on(async || server.lowered().await, at, 2).await;
        }
    }
}

/// Parts have numbers here: the service notices that one is not what it was.
#[tokio::test(flavor = "multi_thread")]
async fn unlike_attempts_do_not_mix() {
    for server in super::all() {
        for at in [true, false] {
            alike::unlike_attempts_do_not_mix(async || server.lowered().await, at, false).await;
        }
    }
}

/// The parts were put together, but what came of it did not get to its place: the next attempt goes on from there.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_breaks_in_the_middle_is_repeated() {
    let Some(server) = super::start(Kind::Versity) else { return };
    let driver = server.lowered().await;
    let data = pattern((7 << 20) + 9);
    let mut writer = driver.writer(None).await.unwrap();
    append(&mut writer, &data).await.unwrap();
    let handle = writer.suspend().await.unwrap();
    drop(writer);
    // This server keeps objects as files, so that nothing can be below an object.
    driver.apply(storage::Batch::new().put("a/file", "1")).await.unwrap();
    let first = driver.resume(&handle, data.len() as u64).await.unwrap();
    assert_eq!(first.commit("a/file/data").await.unwrap_err().kind, ErrorKind::Unavailable);
    // It was to be that, and can be nothing else any more.
    let other = driver.resume(&handle, data.len() as u64).await.unwrap();
    assert_eq!(other.commit("a/data").await.unwrap_err().kind, ErrorKind::Conflict);
    driver.discard(&handle).await.unwrap();
    driver.apply(storage::Batch::new().delete("a/file")).await.unwrap();
    // A service that refuses a part before it has heard all of it may break the line.
    let breaks = |head: &str| head.contains("partNumber=").then(|| "broken\r\n\r\n".to_owned());
    let address = between::start(server.address, breaks);
    let behind = |settings: &mut S3Settings| {
        (settings.region_endpoint, settings.chunk_size) = (Some(format!("http://{address}")), 5 << 20);
    };
    let behind = server.try_open(behind).await.unwrap();
    let second = behind.resume(&handle, data.len() as u64).await.unwrap();
    second.commit("a/file/data").await.unwrap();
    assert!(whole(&driver, "a/file/data").await == data);
    alike::nothing_is_left(&driver).await;
}

/// Two processes go on from one handle with different bytes and end at once: nothing has the bytes of the other.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_ends_once() {
    let Some(server) = super::start(Kind::Versity) else { return };
    let drivers = [server.lowered().await, server.lowered().await];
    let start = pattern(6 << 20);
    let mut ended = 0;
    for round in 0..6_usize {
        let mut writer = drivers[0].writer(None).await.unwrap();
        // With parts that both have, and with such that each of them makes.
        append(&mut writer, &start[..if round % 2 == 0 { 6 << 20 } else { 1000 }]).await.unwrap();
        let handle = writer.suspend().await.unwrap();
        let offset = writer.len();
        drop(writer);
        let mut ends = Vec::new();
        for (driver, byte) in drivers.iter().zip([1_u8, 2]) {
            let mut writer = driver.resume(&handle, offset).await.unwrap();
            append(&mut writer, &vec![byte; 7 << 20]).await.unwrap();
            ends.push(async move { writer.commit(&format!("large/{round}/{byte}")).await });
        }
        let (second, first) = (ends.pop().unwrap(), ends.pop().unwrap());
        let (first, second) = tokio::join!(first, second);
        assert!(first.is_err() || second.is_err(), "{round}: both have ended it");
        for (byte, outcome) in [(1, first), (2, second)] {
            let key = format!("large/{round}/{byte}");
            if outcome.is_ok() {
                ended += 1;
                let data = whole(&drivers[0], &key).await;
                assert!(
                    data[..1000] == start[..1000] && data[usize::try_from(offset).unwrap()..] == vec![byte; 7 << 20]
                );
            } else {
                assert_eq!(drivers[0].stat(&key).await.unwrap_err().kind, ErrorKind::NotFound);
            }
        }
    }
    assert!(ended > 0, "nobody ends any");
}

/// The same content, written once more in other parts, has another mark.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_again_is_still_read() {
    let Some(server) = super::start(Kind::Versity) else { return };
    let (parts, one) = (server.lowered().await, server.open().await);
    let (data, key) = (pattern(7 << 20), "large/again/data");
    write(&parts, key, true, &data).await.unwrap();
    let ObjectBody::Remote(object) = parts.open(key).await.unwrap().body else { unreachable!() };
    write(&one, key, true, &data).await.unwrap();
    let chunks: Vec<_> = object.read(100..data.len() as u64).map(Result::unwrap).collect().await;
    assert!(chunks.concat() == data[100..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_broken_off_is_removed_when_it_is_old() {
    for server in super::all() {
        // To moto all uploads are of 2010.
        let dated = server.kind != Kind::Moto;
        alike::what_is_broken_off_is_removed_when_it_is_old(&server.lowered().await, dated).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_addresses_need_no_credentials() {
    for server in super::those(&[Kind::Versity, Kind::Ceph]) {
        let driver = server.open().await;
        driver.apply(storage::Batch::new().put("blob/data", "content")).await.unwrap();
        let url = driver.presign("blob/data", Duration::from_secs(60)).await.unwrap().unwrap();
        let target = url.strip_prefix(&format!("http://{}", server.address)).unwrap();
        let get = |target: &str| wire::ask(server.address, "GET", target);
        assert!(get(target).ends_with("content"));
        assert!(get(&target.replace("blob", "blog")).starts_with("HTTP/1.1 403"));
        let elsewhere = |settings: &mut S3Settings| {
            settings.redirect_endpoint = Some("https://store.example.com".to_owned());
        };
        let driver = server.try_open(elsewhere).await.unwrap();
        let url = driver.presign("blob/data", Duration::from_secs(60)).await.unwrap().unwrap();
        let expected = format!("https://store.example.com/{}/some/place/blob/data?", server.bucket);
        assert!(url.starts_with(&expected), "{url}");
    }
}

/// What the settings say of new objects holds for all ways in which one comes about.
#[tokio::test(flavor = "multi_thread")]
async fn objects_are_encrypted_and_in_their_class() {
    let Some(server) = super::start(Kind::Moto) else { return };
    for (encrypt, key, expected) in [(true, Some("mykeyid"), "aws:kms"), (true, None, "AES256"), (false, Some("x"), "")]
    {
        let settings = |settings: &mut S3Settings| {
            settings.encrypt = encrypt;
            settings.key_id = key.map(str::to_owned);
            settings.storage_class = Some("standard_ia".to_owned());
            settings.chunk_size = 5 << 20;
            settings.multipart_copy_threshold_size = 7 << 20;
            settings.multipart_copy_chunk_size = 5 << 20;
        };
        let driver = server.try_open(settings).await.unwrap();
        driver.apply(storage::Batch::new().put("a/small", "1").delete("a/kept").keep("a/kept", "1")).await.unwrap();
        for (key, size, at) in [("a/put", 1, true), ("a/parts", 6, true), ("a/copy", 6, false), ("a/copies", 8, false)]
        {
            write(&driver, key, at, &pattern(size << 20)).await.unwrap();
        }
        for name in ["small", "kept", "put", "parts", "copy", "copies"] {
            let url = driver.presign(&format!("a/{name}"), Duration::from_secs(60)).await.unwrap().unwrap();
            let target = url.strip_prefix(&format!("http://{}", server.address)).unwrap();
            let answer: String = wire::ask(server.address, "GET", target).chars().take(2000).collect();
            let answer = answer.to_ascii_lowercase();
            assert!(answer.contains("x-amz-storage-class: standard_ia"), "{name}: {answer}");
            let encryption = format!("x-amz-server-side-encryption: {}", expected.to_ascii_lowercase());
            assert_eq!(answer.contains(&encryption), !expected.is_empty(), "{name}: {answer}");
            let named = answer.contains("x-amz-server-side-encryption-aws-kms-key-id: mykeyid");
            assert_eq!(named, expected == "aws:kms", "{name}: {answer}");
        }
    }
}
