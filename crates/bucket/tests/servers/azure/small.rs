//! Small objects and lists.

use crate::alike;
use crate::content::{keeping_costs, names, requests_since};
use std::time::SystemTime;
use storage::{Batch, Driver, ErrorKind};

#[tokio::test(flavor = "multi_thread")]
async fn azurite_conforms() {
    let Some(server) = super::start() else { return };
    for slash in [false, true] {
        alike::conforms(server.try_open(|settings| settings.leading_slash = Some(slash)).await.unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_are_paged_in_the_order_of_names() {
    let Some(server) = super::start() else { return };
    alike::lists_are_paged(&server.open().await, 420, "/current/link").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_creates_a_key() {
    let Some(server) = super::start() else { return };
    alike::one_of_many_creates_a_key([server.open().await, server.open().await]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_moves_during_a_deletion_stays() {
    let Some(server) = super::start() else { return };
    let behind = async |address| {
        let through = |settings: &mut bucket::azure::AzureSettings| {
            settings.service_url = Some(format!("http://{address}/{}", super::ACCOUNT));
        };
        server.try_open(through).await.unwrap()
    };
    alike::what_moves_during_a_deletion_stays(server.address, server.open().await, behind, |_| None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_and_few() {
    let Some(server) = super::start() else { return };
    let driver = server.open().await;
    let mut since = requests_since(&driver);
    let before = SystemTime::now();
    driver.apply(Batch::new().put("a/b", "1").keep("a/c", "2")).await.unwrap();
    assert_eq!(since(), 2);
    assert_eq!(&driver.get("a/b", 10).await.unwrap()[..], b"1");
    let stat = driver.stat("a/c").await.unwrap();
    assert_eq!(stat.size, 1);
    assert!(stat.modified >= before && stat.modified <= SystemTime::now(), "the service's own clock ticks in seconds");
    assert_eq!(since(), 2);
    assert_eq!(driver.stat("a/none").await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(since(), 1, "the header says what is missing");
    keeping_costs(&driver, &server.open().await, 2).await;
    let mut since = requests_since(&driver);
    driver.apply(Batch::new().delete("a/c")).await.unwrap();
    driver.apply(Batch::new().delete("a/c")).await.unwrap();
    assert_eq!(since(), 2);
    driver.presign("a/b", std::time::Duration::from_secs(60)).await.unwrap();
    assert_eq!(since(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slash_is_found_out() {
    let Some(server) = super::start() else { return };
    let with = server.try_open(|settings| settings.leading_slash = Some(true)).await.unwrap();
    with.apply(Batch::new().put("docker/registry/v2/x", "old")).await.unwrap();
    assert!(server.kind("/some/place/docker/registry/v2/x").contains("BlockBlob"));
    let found = server.open().await;
    assert_eq!(&found.get("docker/registry/v2/x", 10).await.unwrap()[..], b"old");
    found.apply(Batch::new().put("docker/registry/v2/y", "new")).await.unwrap();
    assert_eq!(names(&with, "docker/registry/v2", "", 10).await.0, ["x", "y"]);
    assert_eq!(names(&found, "docker/registry", "", 10).await.0, ["v2"]);
    found.apply(Batch::new().delete_tree("docker")).await.unwrap();
    assert_eq!(names(&with, "docker", "", 10).await.0, [""; 0]);
    let without = server.try_open(|settings| settings.leading_slash = Some(false)).await.unwrap();
    for driver in [&with, &without] {
        driver.apply(Batch::new().put("docker/registry/v2/x", "1")).await.unwrap();
    }
    let error = server.try_open(|_| {}).await.err().unwrap();
    assert_eq!(error.setting, "storage.azure.legacyrootprefix");
}
