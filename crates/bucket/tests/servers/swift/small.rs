//! Small objects and lists.

use super::{Options, all, opened, start_with};
use crate::alike;
use crate::content::{missed_with, names, requests_since};
use bucket::Request;
use std::time::{Duration, Instant};
use storage::{Batch, Driver, ErrorKind};

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms() {
    for cloud in all() {
        alike::conforms(opened(&cloud).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_are_paged_in_the_order_of_names() {
    for cloud in all() {
        let driver = opened(&cloud).await;
        alike::lists_are_paged(&driver, 120, "/current/link").await;
        assert_eq!(driver.requests().all(Request::DeleteMany), 1);
        assert_eq!(driver.requests().all(Request::Delete), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_less_does_what_it_can() {
    let Some(cloud) = start_with(&Options { without: vec!["bulk", "tempurl"], ..Options::default() }) else { return };
    let driver = opened(&cloud).await;
    driver.apply(Batch::new().put("a/b/c", "1").put("a/b/d", "2").put("a/e", "3")).await.unwrap();
    driver.apply(Batch::new().delete_tree("a/b")).await.unwrap();
    assert_eq!(driver.requests().all(Request::DeleteMany), 0);
    assert_eq!(names(&driver, "a", "", 10).await.0, ["e"]);
    assert_eq!(driver.presign("a/e", Duration::from_secs(60)).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_created_once() {
    for cloud in all() {
        let drivers = [opened(&cloud).await, opened(&cloud).await];
        for round in 0..5 {
            let create = |number: usize| Batch::new().create(format!("owner/{round}"), format!("{number}"));
            drivers[0].apply(create(0)).await.unwrap();
            assert_eq!(drivers[1].apply(create(1)).await.unwrap_err().kind, ErrorKind::Conflict);
            assert_eq!(&drivers[1].get(&format!("owner/{round}"), 10).await.unwrap()[..], b"0");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_and_few() {
    for cloud in all() {
        let served = Instant::now();
        let driver = opened(&cloud).await;
        let mut since = requests_since(&driver);
        driver.apply(Batch::new().put("a/b", "1").keep("a/c", "2")).await.unwrap();
        match cloud.keeps_conditions() {
            true => assert_eq!(since(), 2),
            // It is looked whether something is there.
            false => missed_with(since(), 3, served),
        }
        assert_eq!(&driver.get("a/b", 10).await.unwrap()[..], b"1");
        let served = Instant::now();
        assert_eq!(driver.stat("a/c").await.unwrap().size, 1);
        assert_eq!(since(), 2);
        assert_eq!(driver.stat("a/none").await.unwrap_err().kind, ErrorKind::NotFound);
        missed_with(since(), 1, served);
        driver.apply(Batch::new().delete("a/c")).await.unwrap();
        assert_eq!(since(), 2, "what is large must be known");
        driver.presign("a/b", Duration::from_secs(60)).await.unwrap();
        assert_eq!(since(), 0);
    }
}
