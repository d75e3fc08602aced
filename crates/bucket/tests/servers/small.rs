//! Small objects and lists.

use crate::server::{self, Kind};
use bucket::{BucketDriver, Request};
use std::sync::Arc;
use storage::testing::conformance;
use storage::{Batch, Driver, ErrorKind};

async fn conforms(kind: Kind) {
    let Some(server) = server::start(kind) else { return };
    let driver = Arc::new(server.open().await);
    conformance(driver.clone()).await;
    let left = names(&driver, "homeport/v1/uploads", "", usize::MAX).await.0;
    assert!(left.is_empty(), "{kind:?}: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn versitygw_conforms() {
    conforms(Kind::Versity).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moto_conforms() {
    conforms(Kind::Moto).await;
}

async fn names(driver: &BucketDriver, prefix: &str, after: &str, limit: usize) -> (Vec<String>, bool) {
    let page = driver.list(prefix, after, limit).await.unwrap();
    (page.range.clone().map(|index| page.names.at(index).text.to_owned()).collect(), page.more)
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_are_paged_in_the_order_of_names() {
    for server in server::all() {
        let driver = server.open().await;
        // Moto is slow, and the other one fills more than one answer.
        let count = if server.kind == Kind::Versity { 420 } else { 60 };
        let mut all: Vec<String> = (0..count).map(|index| format!("v1.{index}")).collect();
        all.extend((0..count).map(|index| format!("v1.{index}-rc.1")));
        all.extend((0..count).map(|index| format!("v1-{index}")));
        all.push("v1".to_owned());
        for chunk in all.chunks(100) {
            let puts = chunk.iter().map(|name| Batch::new().put(format!("tags/{name}/current/link"), "x"));
            futures_util::future::try_join_all(puts.map(|batch| driver.apply(batch))).await.unwrap();
        }
        all.sort();
        assert_eq!(names(&driver, "tags", "", usize::MAX).await, (all.clone(), false));
        for limit in [1, 7, 100, 999] {
            let mut found: Vec<String> = Vec::new();
            loop {
                let after = found.last().cloned().unwrap_or_default();
                let (page, more) = names(&driver, "tags", &after, limit).await;
                found.extend(page);
                if !more || (limit == 1 && found.len() > 30) {
                    break;
                }
            }
            assert_eq!(found, all[..found.len()], "{:?} by {limit}", server.kind);
            assert!(limit == 1 || found.len() == all.len());
        }
        let before = driver.requests().all(Request::List);
        names(&driver, "tags", "v1.2", 100).await;
        let requests = driver.requests().all(Request::List) - before;
        assert!(requests <= 4, "{requests} requests for a page");
        let before = driver.requests().total();
        driver.apply(Batch::new().delete_tree("tags")).await.unwrap();
        assert!(driver.requests().total() - before <= 4);
        assert_eq!(names(&driver, "tags", "", 10).await.0, [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_creates_a_key() {
    // Moto looks first and writes then.
    let Some(server) = server::start(Kind::Versity) else { return };
    let drivers = [Arc::new(server.open().await), Arc::new(server.open().await)];
    for round in 0..5 {
        let key = format!("owner/{round}");
        let creates = (0..8).map(|number| {
            let (driver, key) = (Arc::clone(&drivers[number % 2]), key.clone());
            // Each batch has a lock of its own: only the service decides.
            let batch = Batch::new().create(key, format!("{number}")).lock(format!("{number}"));
            tokio::spawn(async move { driver.apply(batch).await })
        });
        let mut won = Vec::new();
        for (number, create) in creates.collect::<Vec<_>>().into_iter().enumerate() {
            match create.await.unwrap() {
                Ok(()) => won.push(number),
                Err(error) => assert_eq!(error.kind, ErrorKind::Conflict, "{error} {:?}", error.source),
            }
        }
        let content = drivers[0].get(&key, 10).await.unwrap();
        assert_eq!(won, [std::str::from_utf8(&content).unwrap().parse::<usize>().unwrap()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_and_few() {
    let Some(server) = server::start(Kind::Versity) else { return };
    let driver = server.open().await;
    let requests = driver.requests();
    let mut last = requests.total();
    let mut since = || {
        let before = std::mem::replace(&mut last, requests.total());
        last - before
    };
    driver.apply(Batch::new().put("a/b", "1").keep("a/c", "2")).await.unwrap();
    assert_eq!(since(), 2);
    assert_eq!(&driver.get("a/b", 10).await.unwrap()[..], b"1");
    assert_eq!(driver.stat("a/c").await.unwrap().size, 1);
    assert_eq!(since(), 2);
    assert_eq!(driver.stat("a/none").await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(since(), 1);
    driver.apply(Batch::new().keep("a/c", "2")).await.unwrap();
    assert_eq!(since(), 2, "a condition that does not hold, and a look");
    driver.apply(Batch::new().delete("a/c")).await.unwrap();
    assert_eq!(since(), 1);
    driver.presign("a/b", std::time::Duration::from_secs(60)).await.unwrap();
    assert_eq!(since(), 0);
}
