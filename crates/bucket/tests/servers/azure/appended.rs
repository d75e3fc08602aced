//! Blobs as distribution writes them: they are appended to.

use super::ROOT;
use super::strict;
use crate::content::{pattern, whole, write};
use std::sync::atomic::Ordering;
use storage::{Batch, Driver, ErrorKind};

#[tokio::test(flavor = "multi_thread")]
async fn they_are_read_replaced_and_deleted() {
    let Some(server) = super::start() else { return };
    let driver = server.open().await;
    let data = pattern(6 << 20);
    for key in ["link", "kept", "gone", "data", "copied", "broken"] {
        server.append(&format!("{ROOT}/a/{key}"), b"old");
    }
    for part in data.chunks(2 << 20) {
        for key in ["data", "copied"] {
            let target = format!("/{}/{ROOT}/a/{key}?comp=appendblock", super::CONTAINER);
            let appended = server.request("PUT", &target, &[], part);
            assert!(appended.starts_with("HTTP/1.1 201"), "{appended}");
        }
    }
    assert_eq!(&driver.get("a/link", 10).await.unwrap()[..], b"old");
    assert_eq!(driver.stat("a/data").await.unwrap().size, 3 + data.len() as u64);
    assert!(whole(&driver, "a/data").await[3..] == data);
    driver.apply(Batch::new().put("a/link", "new").keep("a/kept", "old").delete("a/gone")).await.unwrap();
    assert_eq!(&driver.get("a/link", 10).await.unwrap()[..], b"new");
    assert_eq!(&driver.get("a/kept", 10).await.unwrap()[..], b"old");
    assert!(driver.stat("a/gone").await.unwrap_err().is_not_found());
    assert!(driver.apply(Batch::new().create("a/kept", "x")).await.is_err());
    // Large ones at the final key, and by a copy.
    for (key, at) in [("a/data", true), ("a/copied", false), ("a/broken", true)] {
        write(&driver, key, at, &data).await.unwrap();
        assert_eq!(driver.stat(key).await.unwrap().size, data.len() as u64, "{key}");
        assert!(whole(&driver, key).await == data, "{key}");
    }
    let left = driver.remove_leftovers(&["a"], std::time::Duration::ZERO).await.unwrap();
    assert_eq!(left.objects, 0);
}

/// A tag that is moved is there all the time, and stays of the kind that it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_one_is_replaced_by_its_own_kind() {
    let Some(server) = super::start() else { return };
    let (address, refused) = strict::start(server.address, "/link");
    let through = |settings: &mut bucket::azure::AzureSettings| {
        settings.service_url = Some(format!("http://{address}/{}", super::ACCOUNT));
    };
    let driver = server.try_open(through).await.unwrap();
    server.append(&format!("{ROOT}/a/link"), b"old");
    let before = std::time::SystemTime::now();
    for content in ["new", "", "newer"] {
        driver.apply(Batch::new().put("a/link", content)).await.unwrap();
        assert_eq!(driver.get("a/link", 10).await.unwrap(), content.as_bytes());
        assert_eq!(server.kind(&format!("{ROOT}/a/link")), "AppendBlob");
    }
    assert_eq!(refused.load(Ordering::SeqCst), 3);
    assert!(driver.stat("a/link").await.unwrap().modified >= before);
    let error = driver.apply(Batch::new().create("a/link", "x")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict, "the key is taken, whatever the kind");
    let left = driver.remove_leftovers(&["a"], std::time::Duration::ZERO).await.unwrap();
    assert_eq!(left.objects, 0);
}
