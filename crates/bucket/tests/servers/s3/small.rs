//! Small objects and lists.

use super::Kind;
use crate::alike;
use crate::content::{keeping_costs, missed_with, names, requests_since};
use std::time::{Duration, Instant};
use storage::{Batch, Driver, ErrorKind};

async fn conforms(kind: Kind) {
    let Some(server) = super::start(kind) else { return };
    alike::conforms(server.open().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versitygw_conforms() {
    conforms(Kind::Versity).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moto_conforms() {
    conforms(Kind::Moto).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ceph_conforms() {
    conforms(Kind::Ceph).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_are_paged_in_the_order_of_names() {
    for server in super::all() {
        let driver = server.open().await;
        // Moto is slow, and the other one fills more than one answer.
        let count = if server.kind == Kind::Versity { 420 } else { 60 };
        assert!(alike::lists_are_paged(&driver, count, "/current/link").await <= 4);
        driver.apply(Batch::new().put("tags/v1/current/link", "x")).await.unwrap();
        for nothing in ["\0", "\u{1}\0"] {
            assert_eq!(names(&driver, "tags", nothing, 1).await.0, ["v1"], "{:?}", server.kind);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_creates_a_key() {
    // Moto looks first and writes then.
    for server in super::those(&[Kind::Versity, Kind::Ceph]) {
        alike::one_of_many_creates_a_key([server.open().await, server.open().await]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_moves_during_a_deletion_stays() {
    // Ceph's gateway has no such condition.
    for server in super::those(&[Kind::Versity, Kind::Moto]) {
        let behind = async |address| {
            server.try_open(|settings| settings.region_endpoint = Some(format!("http://{address}"))).await.unwrap()
        };
        alike::what_moves_during_a_deletion_stays(server.address, server.open().await, behind, |_| None).await;
        for refusal in [
            "HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 409 Conflict\r\nContent-Length: 54\r\n\r\n<Error><Code>ConditionalRequestConflict</Code></Error>",
        ] {
            alike::a_deletion_that_is_refused_has_not_happened(server.address, &behind, refusal).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_and_few() {
    for server in super::those(&[Kind::Versity, Kind::Ceph]) {
        let driver = server.open().await;
        let mut since = requests_since(&driver);
        driver.apply(Batch::new().put("a/b", "1").keep("a/c", "2")).await.unwrap();
        assert_eq!(since(), 2);
        assert_eq!(&driver.get("a/b", 10).await.unwrap()[..], b"1");
        let served = Instant::now();
        assert_eq!(driver.stat("a/c").await.unwrap().size, 1);
        assert_eq!(since(), 2);
        assert_eq!(driver.stat("a/none").await.unwrap_err().kind, ErrorKind::NotFound);
        missed_with(since(), 1, served);
        keeping_costs(&driver, &server.open().await, 2).await;
        let mut since = requests_since(&driver);
        driver.apply(Batch::new().delete("a/c")).await.unwrap();
        assert_eq!(since(), 1);
        driver.presign("a/b", Duration::from_secs(60)).await.unwrap();
        assert_eq!(since(), 0);
    }
}
