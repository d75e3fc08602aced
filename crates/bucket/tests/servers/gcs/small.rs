//! Small objects and lists.

use super::start;
use crate::alike;
use crate::content::{keeping_costs, requests_since};
use storage::{Batch, Driver, ErrorKind};

#[tokio::test(flavor = "multi_thread")]
async fn the_emulator_conforms() {
    let Some(server) = start() else { return };
    alike::conforms(server.open().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_paged_in_the_order_of_names() {
    let Some(server) = start() else { return };
    let driver = server.open().await;
    // The emulator gives no more than a thousand objects at once, and all prefixes.
    for (below, count) in [("/current/link", 100), ("", 340)] {
        alike::lists_are_paged(&driver, count, below).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_creates_a_key() {
    let Some(server) = start() else { return };
    alike::one_of_many_creates_a_key([server.open().await, server.open().await]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_moves_during_a_deletion_stays() {
    let Some(server) = start() else { return };
    let behind = async |address| {
        server.try_open(|settings| settings.endpoint = Some(format!("http://{address}"))).await.unwrap()
    };
    // The emulator looks at no conditions of deletions.
    let answer = |line: &str| {
        assert!(line.contains("ifGenerationMatch="), "{line}");
        let document = r#"{"error": {"code": 412, "errors": [{"reason": "conditionNotMet"}]}}"#;
        let (kind, length) = ("application/json; charset=UTF-8", document.len());
        let head = format!("HTTP/1.1 412 Precondition Failed\r\nContent-Type: {kind}\r\nContent-Length: {length}");
        Some(format!("{head}\r\n\r\n{document}"))
    };
    alike::what_moves_during_a_deletion_stays(server.address, server.open().await, behind, answer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_and_few() {
    let Some(server) = start() else { return };
    let driver = server.open().await;
    let mut since = requests_since(&driver);
    driver.apply(Batch::new().put("a/b", "1").keep("a/c", "2")).await.unwrap();
    assert_eq!(since(), 2);
    let (stat, content) = driver.read("a/b", 10).await.unwrap();
    assert_eq!((&content[..], stat.size), (&b"1"[..], 1));
    assert_eq!(stat.modified, driver.stat("a/b").await.unwrap().modified, "to the nanosecond, in both answers");
    assert_eq!(since(), 2);
    // The service itself says in its answer what is missing; the emulator does not, and is asked for the bucket.
    assert_eq!(driver.stat("a/none").await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(since(), 2);
    // As above, of what is missing.
    keeping_costs(&driver, &server.open().await, 3).await;
    let mut since = requests_since(&driver);
    driver.apply(Batch::new().delete("a/c")).await.unwrap();
    assert_eq!(since(), 1);
}
