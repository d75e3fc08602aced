//! What every driver must do, and a driver that fails on purpose.
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "assertions of a test suite")]

mod cut;

pub use cut::CutDriver;

use crate::{Batch, BufferPool, Driver, ErrorKind, INLINE_MAX, ObjectBody, Writer};
use bytes::Bytes;
use futures_util::TryStreamExt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Runs the whole suite against an empty driver.
pub async fn conformance(driver: Arc<dyn Driver>) {
    small_objects(&*driver).await;
    keys_are_checked(&*driver).await;
    batches(&*driver).await;
    creations(&driver).await;
    times(&*driver).await;
    lists(&*driver).await;
    large_objects(&*driver).await;
    objects_at_their_place(&*driver).await;
    suspended_objects(&*driver).await;
    many_at_once(&driver).await;
    driver.probe().await.unwrap();
}

async fn read(driver: &dyn Driver, key: &str) -> Bytes {
    let object = driver.open(key).await.unwrap();
    match object.body {
        ObjectBody::Bytes(data) => data,
        ObjectBody::File(file) => {
            let mut data = vec![0; usize::try_from(object.size).unwrap()];
            std::os::unix::fs::FileExt::read_exact_at(&*file, &mut data, 0).unwrap();
            data.into()
        }
        ObjectBody::Remote(remote) => {
            let chunks: Vec<Bytes> = remote.read(0..object.size).try_collect().await.unwrap();
            chunks.concat().into()
        }
    }
}

async fn names(driver: &dyn Driver, prefix: &str, after: &str, limit: usize) -> (Vec<(String, bool)>, bool) {
    let page = driver.list(prefix, after, limit).await.unwrap();
    let list = page.range.clone().map(|index| page.names.at(index));
    (list.map(|name| (name.text.to_owned(), name.is_prefix)).collect(), page.more)
}

async fn small_objects(driver: &dyn Driver) {
    assert_eq!(driver.stat("small/none").await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(driver.open("small/none").await.unwrap_err().kind, ErrorKind::NotFound);
    for size in [0, 1, 4095, 4096, 4097, 100_000] {
        let data = Bytes::from(vec![b'x'; size]);
        driver.apply(Batch::new().put("small/a", data.clone())).await.unwrap();
        assert_eq!(driver.get("small/a", 100_000).await.unwrap(), data);
        let stat = driver.stat("small/a").await.unwrap();
        assert_eq!(stat.size, size as u64);
        assert_eq!(driver.read("small/a", 100_000).await.unwrap(), (stat, data.clone()));
        assert_eq!(read(driver, "small/a").await, data);
    }
    assert_eq!(driver.get("small/a", 99_999).await.unwrap_err().kind, ErrorKind::TooLarge);
    assert_eq!(driver.read("small/a", 99_999).await.unwrap_err().kind, ErrorKind::TooLarge);
    for missing in ["small/none", "small", "small/a/b"] {
        assert_eq!(driver.get(missing, 10).await.unwrap_err().kind, ErrorKind::NotFound, "{missing}");
        assert_eq!(driver.read(missing, 10).await.unwrap_err().kind, ErrorKind::NotFound, "{missing}");
    }
}

async fn keys_are_checked(driver: &dyn Driver) {
    for key in ["", "/", "a/", "/a", "a//b", "..", "a/../b", "a/./b", "a\0b"] {
        assert_eq!(driver.get(key, 10).await.unwrap_err().kind, ErrorKind::InvalidKey, "{key}");
        assert_eq!(driver.read(key, 10).await.unwrap_err().kind, ErrorKind::InvalidKey, "{key}");
        let put = driver.apply(Batch::new().put(key, "x")).await;
        assert_eq!(put.unwrap_err().kind, ErrorKind::InvalidKey, "{key}");
    }
}

async fn batches(driver: &dyn Driver) {
    let batch = Batch::new().put("b/1/x", "1").keep("b/2/y/z", "22").put("b/1/x", "3").delete("b/none");
    driver.apply(batch).await.unwrap();
    assert_eq!(&driver.get("b/1/x", 10).await.unwrap()[..], b"3");
    driver.apply(Batch::new().keep("b/2/y/z", "22").keep("b/2/y/w", "4")).await.unwrap();
    assert_eq!(&driver.get("b/2/y/z", 10).await.unwrap()[..], b"22");
    driver.apply(Batch::new().keep("b/2/y/z", "33")).await.unwrap();
    assert_eq!(&driver.get("b/2/y/z", 10).await.unwrap()[..], b"33", "damaged content of the same length was kept");
    driver.apply(Batch::new().keep("b/2/y/z", "555")).await.unwrap();
    assert_eq!(&driver.get("b/2/y/z", 10).await.unwrap()[..], b"555", "damaged content was kept");
    driver
        .apply(Batch::new().delete_tree_if("b/2", "b/2/y/z", "33").delete_tree_if("b/2", "b/none", ""))
        .await
        .unwrap();
    assert_eq!(&driver.get("b/2/y/z", 10).await.unwrap()[..], b"555", "removed although it has changed");
    driver.apply(Batch::new().put("b/3/x", "1").delete_tree_if("b/3", "b/3/x", "1")).await.unwrap();
    assert!(driver.get("b/3/x", 10).await.is_err());
    driver.apply(Batch::new().put("b/6", "1").delete_tree_if("b/6", "b/6", "1")).await.unwrap();
    assert!(driver.get("b/6", 10).await.is_err(), "an object is a tree of its own");
    let elsewhere = |expected: &'static str| Batch::new().delete_tree_if("b/9", "b/8/owner", expected);
    driver.apply(Batch::new().put("b/8/owner", "1").put("b/9/v/y/z", "1")).await.unwrap();
    driver.apply(elsewhere("2")).await.unwrap();
    assert_eq!(&driver.get("b/9/v/y/z", 10).await.unwrap()[..], b"1", "removed although the owner is another");
    driver.apply(elsewhere("1")).await.unwrap();
    assert_eq!(names(driver, "b/9", "", 10).await.0, []);
    assert_eq!(
        &driver.get("b/8/owner", 10).await.unwrap()[..],
        b"1",
        "what the condition looks at is no part of the tree"
    );
    driver.apply(Batch::new().delete_tree("b/2").delete("b/1/x").delete_tree("b/none")).await.unwrap();
    assert!(driver.get("b/2/y/z", 10).await.is_err());
    assert!(driver.get("b/1/x", 10).await.is_err());
    driver.apply(Batch::new().put("b/2/y/z", "6")).await.unwrap();
    let batch = Batch::new().put("b/5/x", "1").put("b/5/y/z", "1");
    let batch = batch.at_once(|batch| batch.delete("b/5/x").put("b/5/v", "2").keep("b/5/w", "3").delete_tree("b/5/y"));
    driver.apply(batch.put("b/5/x", "4").delete("b/5/v")).await.unwrap();
    assert_eq!(names(driver, "b/5", "", 10).await.0, [("w".to_owned(), false), ("x".to_owned(), false)]);
    assert_eq!(&driver.get("b/5/x", 10).await.unwrap()[..], b"4", "steps are in order");
    let failing = Batch::new().at_once(|batch| batch.create("b/5/x", "5").put("b/5/t", "5")).put("b/5/u", "5");
    assert_eq!(driver.apply(failing).await.unwrap_err().kind, ErrorKind::Conflict);
    assert!(driver.get("b/5/u", 10).await.is_err(), "what comes after the conflict happened");
    soon(driver).await;
    let too_large = driver.apply(Batch::new().put("b/4/x", vec![0; INLINE_MAX + 1])).await;
    assert_eq!(too_large.unwrap_err().kind, ErrorKind::TooLarge);
    assert_eq!(names(driver, "b/2/y", "", 10).await.0, [("z".to_owned(), false)]);
}

/// What is not waited for happens, under the same locks, with the same time, and not after a failure.
async fn soon(driver: &dyn Driver) {
    let push = || Batch::new().put("b/7/x", "1").soon().keep("b/7/y", "1").put("b/7/z", "1").lock("b/7");
    driver.apply(push()).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while driver.stat("b/7/z").await.is_err() {
        assert!(Instant::now() < deadline, "it does not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(modified(driver, "b/7/z").await, modified(driver, "b/7/x").await);
    for _ in 0..5 {
        driver.apply(push()).await.unwrap();
        driver.apply(Batch::new().delete_tree("b/7").lock("b/7")).await.unwrap();
        assert_eq!(names(driver, "b/7", "", 10).await.0, [], "something came later");
    }
    driver.apply(Batch::new().put("b/7/x", "1")).await.unwrap();
    driver.apply(Batch::new().create("b/7/x", "2").soon().put("b/7/y", "2").lock("b/7")).await.unwrap_err();
    driver.apply(Batch::new().put("b/7/z", "2").lock("b/7")).await.unwrap();
    assert!(driver.stat("b/7/y").await.is_err(), "it happened after a failure");
}

async fn modified(driver: &dyn Driver, key: &str) -> SystemTime {
    driver.stat(key).await.unwrap().modified
}

/// Puts until the clock of the driver has moved on.
async fn put_later(driver: &dyn Driver, key: &str, than: SystemTime) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        driver.apply(Batch::new().put(key, "x")).await.unwrap();
        if modified(driver, key).await > than {
            return;
        }
        assert!(Instant::now() < deadline, "the clock of the driver stands still");
    }
}

async fn times(driver: &dyn Driver) {
    let oldest = async |max| driver.oldest("t/index", "t/index/b/2/link", max).await.unwrap();
    assert_eq!(oldest(10).await, None);
    driver.apply(Batch::new().put("t/current", "x").put("t/index/b/2/link", "x").put("t/other", "x")).await.unwrap();
    let first = modified(driver, "t/index/b/2/link").await;
    for same in ["t/current", "t/other"] {
        assert_eq!(modified(driver, same).await, first, "what changes together has one time");
    }
    assert_eq!(oldest(10).await, Some(first));
    put_later(driver, "t/index/a/3/link", first).await;
    put_later(driver, "t/index/b/1/link", modified(driver, "t/index/a/3/link").await).await;
    assert_eq!(oldest(3).await, Some(first));
    assert_eq!(oldest(2).await, Some(modified(driver, "t/index/a/3/link").await), "more were looked at than allowed");
    let absent = driver.oldest("t/index", "t/index/c/4/link", 10).await.unwrap();
    assert_eq!(absent, Some(first), "what is likely need not be there");
    driver.apply(Batch::new().keep("t/index/b/2/link", "x").put("t/index/b/link", "x")).await.unwrap();
    assert_eq!(oldest(10).await, Some(first));
    driver.apply(Batch::new().delete_tree("t/index/b/2")).await.unwrap();
    assert_eq!(oldest(10).await, Some(modified(driver, "t/index/a/3/link").await));
    let elsewhere = driver.oldest("t/index", "t/indexes/b/2/link", 10).await;
    assert_eq!(elsewhere.unwrap_err().kind, ErrorKind::InvalidKey);
}

async fn creations(driver: &Arc<dyn Driver>) {
    driver
        .apply(Batch::new().put("create/before", "1").create("create/a/b/x", "1").put("create/y", "1"))
        .await
        .unwrap();
    let batch = Batch::new().delete("create/before").create("create/a/b/x", "2").put("create/z", "2");
    assert_eq!(driver.apply(batch).await.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(&driver.get("create/a/b/x", 10).await.unwrap()[..], b"1");
    assert!(driver.get("create/z", 10).await.is_err(), "what comes after the conflict happened");
    driver.apply(Batch::new().delete("create/a/b/x").create("create/a/b/x", "3")).await.unwrap();
    assert_eq!(&driver.get("create/a/b/x", 10).await.unwrap()[..], b"3");
    for round in 0..20 {
        let key = format!("create/race/{round}/x");
        let racers = (0..4).map(|racer| {
            let (driver, batch) = (Arc::clone(driver), Batch::new().create(key.clone(), racer.to_string()));
            tokio::spawn(async move { (racer, driver.apply(batch).await) })
        });
        let mut winner = None;
        for racer in racers.collect::<Vec<_>>() {
            match racer.await.unwrap() {
                (racer, Ok(())) => assert_eq!(winner.replace(racer), None, "two have made {key}"),
                (_, Err(error)) => assert_eq!(error.kind, ErrorKind::Conflict),
            }
        }
        assert_eq!(driver.get(&key, 10).await.unwrap(), winner.unwrap().to_string());
    }
}

async fn lists(driver: &dyn Driver) {
    assert_eq!(names(driver, "list", "", 10).await, (vec![], false));
    let mut batch = Batch::new();
    for name in ["b", "a", "a-b", "a.b", "a0", "Z", "_", "c/d", "c/e/f"] {
        batch = batch.put(format!("list/{name}"), name.to_owned());
    }
    driver.apply(batch).await.unwrap();
    let all = ["Z", "_", "a", "a-b", "a.b", "a0", "b", "c"];
    let found = names(driver, "list", "", 100).await;
    assert_eq!(found.0.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), all);
    assert_eq!(found.0.iter().filter(|(_, is_prefix)| *is_prefix).count(), 1);
    let mut paged: Vec<String> = Vec::new();
    loop {
        let after = paged.last().cloned().unwrap_or_default();
        let (page, more) = names(driver, "list", &after, 3).await;
        paged.extend(page.into_iter().map(|(name, _)| name));
        if !more {
            break;
        }
    }
    assert_eq!(paged, all);
    assert_eq!(names(driver, "list", "", 0).await.0, []);
    driver.apply(Batch::new().delete("list/a0").put("list/a1", "1")).await.unwrap();
    let found: Vec<_> = names(driver, "list", "a.b", 2).await.0.into_iter().map(|(name, _)| name).collect();
    assert_eq!(found, ["a1", "b"], "a change must be seen at once");
}

async fn append(writer: &mut Box<dyn Writer>, pool: &Arc<BufferPool>, mut data: &[u8]) {
    while !data.is_empty() {
        let mut buffer = pool.take();
        let count = buffer.fill(data);
        data = &data[count..];
        writer.append(Arc::new(buffer)).await.unwrap();
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| u8::try_from(index * 31 % 251).unwrap()).collect()
}

async fn large_objects(driver: &dyn Driver) {
    let pool = BufferPool::new(4);
    for (index, size) in [1, 4096, 5000, 3 << 20, (3 << 20) + 1].into_iter().enumerate() {
        let data = pattern(size);
        let key = format!("large/{index}/data");
        let hint = [None, Some(size as u64), Some(1 << 24)][index % 3];
        let mut writer = driver.writer(hint).await.unwrap();
        append(&mut writer, &pool, &data).await;
        assert_eq!(writer.len(), size as u64);
        assert!(driver.stat(&key).await.is_err(), "visible before commit");
        writer.commit(&key).await.unwrap();
        assert_eq!(read(driver, &key).await, data);
    }
    let mut again = driver.writer(None).await.unwrap();
    append(&mut again, &pool, &pattern(5000)).await;
    again.commit("large/2/data").await.unwrap();
    assert_eq!(read(driver, "large/2/data").await, pattern(5000));
    let mut aborted = driver.writer(None).await.unwrap();
    append(&mut aborted, &pool, &pattern(10)).await;
    aborted.abort().await.unwrap();
}

async fn objects_at_their_place(driver: &dyn Driver) {
    let (pool, key) = (BufferPool::new(4), "place/data");
    for size in [5000, (6 << 20) + 1] {
        let mut writer = driver.writer_at(key, None).await.unwrap();
        append(&mut writer, &pool, &pattern(size)).await;
        assert!(driver.stat(key).await.unwrap_err().is_not_found(), "visible before commit");
        writer.abort().await.unwrap();
        assert!(driver.stat(key).await.unwrap_err().is_not_found(), "visible after it was given up");
        let mut writer = driver.writer_at(key, Some(size as u64)).await.unwrap();
        append(&mut writer, &pool, &pattern(size)).await;
        writer.commit(key).await.unwrap();
        for abort in [true, false] {
            let mut other = driver.writer_at(key, None).await.unwrap();
            append(&mut other, &pool, &vec![7; size + 1]).await;
            if abort {
                other.abort().await.unwrap();
            }
            assert_eq!(read(driver, key).await, pattern(size), "what is there was damaged");
        }
        driver.apply(Batch::new().delete(key)).await.unwrap();
    }
}

async fn suspended_objects(driver: &dyn Driver) {
    let pool = BufferPool::new(4);
    let data = pattern((2 << 20) + 777);
    let cuts = [0, 100, 100, 1 << 20, data.len()];
    let mut writer = driver.writer(None).await.unwrap();
    let mut handle = writer.suspend().await.unwrap();
    drop(writer);
    for pair in cuts.windows(2) {
        let mut writer = driver.resume(&handle, pair[0] as u64).await.unwrap();
        append(&mut writer, &pool, &data[pair[0]..pair[1]]).await;
        handle = writer.suspend().await.unwrap();
        append(&mut writer, &pool, b"lost, since never acknowledged").await;
        drop(writer);
    }
    let past_the_end = driver.resume(&handle, 1 << 30).await;
    assert_eq!(past_the_end.err().unwrap().kind, ErrorKind::NotFound);
    let writer = driver.resume(&handle, data.len() as u64).await.unwrap();
    writer.commit("suspended/data").await.unwrap();
    assert_eq!(read(driver, "suspended/data").await, data);
    assert!(driver.resume(&handle, 0).await.is_err(), "a committed upload goes on");
    let mut writer = driver.writer(None).await.unwrap();
    append(&mut writer, &pool, b"abc").await;
    let handle = writer.suspend().await.unwrap();
    drop(writer);
    driver.discard(&handle).await.unwrap();
    driver.discard(&handle).await.unwrap();
    // As another version may have left it, or damage.
    for other in ["", "../blobs/data", "homeport/v1/uploads/x.data", "{\"v\":1}"] {
        assert_eq!(driver.resume(other, 0).await.err().unwrap().kind, ErrorKind::NotFound, "{other}");
        driver.discard(other).await.unwrap();
    }
    assert!(driver.resume(&handle, 0).await.is_err());
}

async fn many_at_once(driver: &Arc<dyn Driver>) {
    let mut tasks = Vec::new();
    for task in 0..8 {
        let driver = Arc::clone(driver);
        tasks.push(tokio::spawn(async move {
            for round in 0..20 {
                let mine = format!("many/{task}/{round}/x");
                let batch = Batch::new().put(mine.clone(), "1").put("many/shared/x", format!("{task}-{round}"));
                driver.apply(batch.lock("shared")).await.unwrap();
                assert_eq!(&driver.get(&mine, 10).await.unwrap()[..], b"1");
                driver.apply(Batch::new().delete_tree(format!("many/{task}/{round}"))).await.unwrap();
                assert!(driver.get(&mine, 10).await.is_err());
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert!(driver.get("many/shared/x", 10).await.is_ok());
}
