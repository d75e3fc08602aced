//! Large objects.

use crate::server::{self, Kind, Server};
use bucket::{BucketDriver, Leftovers, Request};
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use storage::{BufferPool, Driver, ErrorKind, ObjectBody, Writer};

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

pub(crate) async fn read(driver: &BucketDriver, key: &str, range: std::ops::Range<u64>) -> std::io::Result<Vec<u8>> {
    let ObjectBody::Remote(object) = driver.open(key).await.unwrap().body else { unreachable!() };
    let mut stream = object.read(range);
    let mut data = Vec::new();
    while let Some(bytes) = stream.next().await {
        data.extend_from_slice(&bytes?);
    }
    Ok(data)
}

async fn whole(driver: &BucketDriver, key: &str) -> Vec<u8> {
    read(driver, key, 0..u64::MAX).await.unwrap()
}

async fn lowered(server: &Server) -> BucketDriver {
    let settings = |settings: &mut bucket::s3::S3Settings| {
        settings.chunk_size = 5 << 20;
        settings.multipart_copy_threshold_size = 6 << 20;
        settings.multipart_copy_chunk_size = 5 << 20;
        settings.multipart_copy_max_concurrency = 3;
    };
    server.try_open(settings).await.unwrap()
}

async fn nothing_is_left(driver: &BucketDriver) {
    let left = driver.remove_leftovers(&["large"], Duration::ZERO).await.unwrap();
    assert_eq!(left, Leftovers::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_go_to_the_final_key_or_are_copied() {
    for server in server::all() {
        let driver = lowered(&server).await;
        let data = pattern((13 << 20) + 5);
        for (key, at) in [("large/at/data", true), ("large/later/data", false)] {
            let mut writer = match at {
                true => driver.writer_at(key, Some(data.len() as u64)).await.unwrap(),
                false => driver.writer(None).await.unwrap(),
            };
            append(&mut writer, &data).await.unwrap();
            assert_eq!(driver.stat(key).await.unwrap_err().kind, ErrorKind::NotFound, "seen before its end");
            writer.commit(key).await.unwrap();
            assert!(whole(&driver, key).await == data, "{:?} {key}", server.kind);
            assert!(read(&driver, key, 5_000_000..5_000_010).await.unwrap() == data[5_000_000..5_000_010]);
            assert!(read(&driver, key, 7..7).await.unwrap().is_empty());
        }
        assert_eq!(driver.requests().all(Request::Part), 6);
        assert_eq!(driver.requests().all(Request::Copy), 3);
        nothing_is_left(&driver).await;
    }
}

/// Another process goes on after each chunk, and an old handle is good until the next one was used.
#[tokio::test(flavor = "multi_thread")]
async fn other_processes_go_on() {
    for server in server::all() {
        let data = pattern((17 << 20) + 777);
        let cuts = [0, 1000, 6 << 20, 6 << 20, (11 << 20) + 3, data.len()];
        for at in [true, false] {
            let first = lowered(&server).await;
            let key = format!("large/{at}/data");
            let mut writer = match at {
                true => first.writer_at(&key, None).await.unwrap(),
                false => first.writer(None).await.unwrap(),
            };
            let mut handle = writer.suspend().await.unwrap();
            drop(writer);
            for pair in cuts.windows(2) {
                // The first try is lost before anybody learns of its handle.
                for _ in 0..2 {
                    let other = lowered(&server).await;
                    let mut writer = other.resume(&handle, pair[0] as u64).await.unwrap();
                    append(&mut writer, &data[pair[0]..pair[1]]).await.unwrap();
                    drop(writer.suspend().await.unwrap());
                }
                let other = lowered(&server).await;
                let mut writer = other.resume(&handle, pair[0] as u64).await.unwrap();
                append(&mut writer, &data[pair[0]..pair[1]]).await.unwrap();
                handle = writer.suspend().await.unwrap();
                append(&mut writer, b"never acknowledged").await.unwrap();
            }
            let last = lowered(&server).await;
            assert_eq!(last.resume(&handle, 1000).await.err().unwrap().kind, ErrorKind::NotFound);
            last.resume(&handle, data.len() as u64).await.unwrap().commit(&key).await.unwrap();
            assert!(whole(&last, &key).await == data, "{:?}", server.kind);
            assert!(last.resume(&handle, data.len() as u64).await.is_err(), "a committed upload goes on");
            // Two attempts began an upload, and nobody learnt of them.
            let left = last.remove_leftovers(&["large"], Duration::ZERO).await.unwrap();
            assert_eq!(left, Leftovers { uploads: 2, objects: 0 });
        }
    }
}

/// The parts were put together, but what came of it did not get to its place: the next attempt goes on from there.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_breaks_in_the_middle_is_repeated() {
    let Some(server) = server::start(Kind::Versity) else { return };
    let driver = lowered(&server).await;
    let data = pattern((7 << 20) + 9);
    let mut writer = driver.writer(None).await.unwrap();
    append(&mut writer, &data).await.unwrap();
    let handle = writer.suspend().await.unwrap();
    drop(writer);
    // This server keeps objects as files, so that nothing can be below an object.
    driver.apply(storage::Batch::new().put("a/file", "1")).await.unwrap();
    let first = driver.resume(&handle, data.len() as u64).await.unwrap();
    assert_eq!(first.commit("a/file/data").await.unwrap_err().kind, ErrorKind::Unavailable);
    let second = driver.resume(&handle, data.len() as u64).await.unwrap();
    second.commit("a/data").await.unwrap();
    assert!(whole(&driver, "a/data").await == data);
    nothing_is_left(&driver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_broken_off_is_removed_when_it_is_old() {
    for server in server::all() {
        let driver = lowered(&server).await;
        let data = pattern(11 << 20);
        for at in [true, false] {
            let mut writer = match at {
                true => driver.writer_at("large/broken/data", None).await.unwrap(),
                false => driver.writer(None).await.unwrap(),
            };
            append(&mut writer, &data).await.unwrap();
            let handle = writer.suspend().await.unwrap();
            drop(writer);
            if at {
                driver.discard(&handle).await.unwrap();
                driver.discard(&handle).await.unwrap();
                assert!(driver.resume(&handle, data.len() as u64).await.is_err());
            }
        }
        // To moto all uploads are of 2010.
        if server.kind == Kind::Versity {
            let none = driver.remove_leftovers(&["large"], Duration::from_secs(3600)).await.unwrap();
            assert_eq!(none, Leftovers::default(), "too young");
        }
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        let mut removed = Leftovers::default();
        while (removed.uploads, removed.objects) != (1, 1) {
            let more = driver.remove_leftovers(&["large"], Duration::ZERO).await.unwrap();
            removed = Leftovers { uploads: removed.uploads + more.uploads, objects: removed.objects + more.objects };
            assert!(std::time::Instant::now() < deadline, "{:?}: {removed:?}", server.kind);
        }
        nothing_is_left(&driver).await;
        let mut writer = driver.writer(None).await.unwrap();
        append(&mut writer, &data).await.unwrap();
        writer.abort().await.unwrap();
        nothing_is_left(&driver).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_addresses_need_no_credentials() {
    let Some(server) = server::start(Kind::Versity) else { return };
    let driver = server.open().await;
    driver.apply(storage::Batch::new().put("blob/data", "content")).await.unwrap();
    let url = driver.presign("blob/data", Duration::from_secs(60)).await.unwrap().unwrap();
    let target = url.strip_prefix(&format!("http://{}", server.address)).unwrap();
    let get = |target: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address);
        String::from_utf8(server::plain(server.address, &request)).unwrap()
    };
    assert!(get(target).ends_with("content"));
    assert!(get(&target.replace("blob", "blog")).starts_with("HTTP/1.1 403"));
    let elsewhere = |settings: &mut bucket::s3::S3Settings| {
        settings.redirect_endpoint = Some("https://store.example.com".to_owned());
    };
    let driver = server.try_open(elsewhere).await.unwrap();
    let url = driver.presign("blob/data", Duration::from_secs(60)).await.unwrap().unwrap();
    assert!(url.starts_with("https://store.example.com/images/some/place/blob/data?"), "{url}");
}

/// What the settings say of new objects holds for all ways in which one comes about.
#[tokio::test(flavor = "multi_thread")]
async fn objects_are_encrypted_and_in_their_class() {
    let Some(server) = server::start(Kind::Moto) else { return };
    for (encrypt, key, expected) in [(true, Some("mykeyid"), "aws:kms"), (true, None, "AES256"), (false, Some("x"), "")]
    {
        let settings = |settings: &mut bucket::s3::S3Settings| {
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
            let mut writer = match at {
                true => driver.writer_at(key, None).await.unwrap(),
                false => driver.writer(None).await.unwrap(),
            };
            append(&mut writer, &pattern(size << 20)).await.unwrap();
            writer.commit(key).await.unwrap();
        }
        for name in ["small", "kept", "put", "parts", "copy", "copies"] {
            let url = driver.presign(&format!("a/{name}"), Duration::from_secs(60)).await.unwrap().unwrap();
            let target = url.strip_prefix(&format!("http://{}", server.address)).unwrap();
            let get = format!("GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address);
            let answer = server::plain(server.address, &get);
            let answer = String::from_utf8_lossy(&answer[..answer.len().min(2000)]).to_ascii_lowercase();
            assert!(answer.contains("x-amz-storage-class: standard_ia"), "{name}: {answer}");
            let encryption = format!("x-amz-server-side-encryption: {}", expected.to_ascii_lowercase());
            assert_eq!(answer.contains(&encryption), !expected.is_empty(), "{name}: {answer}");
            let named = answer.contains("x-amz-server-side-encryption-aws-kms-key-id: mykeyid");
            assert_eq!(named, expected == "aws:kms", "{name}: {answer}");
        }
    }
}
