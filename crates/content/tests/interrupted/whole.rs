//! Uploads whose bytes are stored under their digest before anybody has asked for that.

use crate::drivers::Troubled;
use crate::world::{bytes, manifest, open, push_blob, push_manifest, repo};
use content::{Error, Expired, Store};
use oci::{Algorithm, Digest};
use std::sync::Arc;
use std::time::Duration;
use storage::memory::MemoryDriver;
use storage::{Batch, Driver};

fn process(driver: &Arc<MemoryDriver>) -> Arc<Store> {
    open(Troubled::one_by_one(Arc::clone(driver)).remote(true))
}

#[tokio::test]
async fn a_session_that_goes_on_without_its_ticket_stays_as_old_as_it_is() {
    let driver = Arc::new(MemoryDriver::default());
    let store = process(&driver);
    let begun = store.upload_begin(repo(), Algorithm::Sha256, Some("u1"));
    let (content, id) = (bytes(0, 20), begun.id);
    let mut upload = store.upload_open(repo(), id, Some(&begun), None).await.unwrap();
    upload.write(&content[..10]).await.unwrap();
    let whole = upload.suspend_whole().await.unwrap();
    assert!(whole.stored.is_some());
    let mut upload = store.upload_open(repo(), id, None, None).await.unwrap();
    upload.write(&content[10..15]).await.unwrap();
    let more = upload.suspend().await.unwrap();
    assert_eq!((more.started, more.offset, more.owner.as_deref()), (begun.started, 15, Some("u1")));

    let other = process(&driver);
    assert_eq!(other.upload_status(repo(), id, None).await.unwrap(), more);
    assert_eq!(other.expire_uploads(Duration::from_secs(3600), false).await.unwrap(), Expired::default());
    let mut upload = other.upload_open(repo(), id, Some(&more), None).await.unwrap();
    upload.write(&content[15..]).await.unwrap();
    let digest = Digest::sha256(&content);
    assert_eq!(upload.commit(repo(), digest).await.unwrap().size, 20);
    assert_eq!(other.blob_open(repo(), digest).await.unwrap().object.size, 20);
}

/// A process that has not seen content itself takes no link's word for it that is old.
#[tokio::test]
async fn what_is_gone_is_missed() {
    let driver = Arc::new(MemoryDriver::default());
    let (store, content) = (process(&driver), bytes(0, 20));
    let digest = push_blob(&store, repo(), &content).await.unwrap();
    let data = driver.keys().into_iter().find(|key| key.ends_with("/data")).unwrap();
    driver.apply(Batch::new().delete(data)).await.unwrap();
    let other = open(Troubled::one_by_one(Arc::clone(&driver)).remote(true).aged());
    let put = push_manifest(&other, &manifest(&content, None, 0), None, &["v1"]).await;
    assert!(matches!(put, Err(Error::ReferencesUnknown(missing)) if missing == [digest]));
}

/// A service keeps what is under way beside its objects, and what lies at the place of files is not ours to remove.
#[tokio::test]
async fn a_service_has_no_files_of_uploads() {
    let driver = Arc::new(MemoryDriver::default());
    let key = "homeport/v1/uploads/left";
    driver.apply(Batch::new().put(key, "x")).await.unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while driver.stat(key).await.unwrap().modified.elapsed().is_ok_and(|age| age.is_zero()) {
        assert!(std::time::Instant::now() < deadline);
    }
    assert_eq!(process(&driver).expire_uploads(Duration::ZERO, false).await.unwrap(), Expired::default());
    let files = open(Troubled::one_by_one(Arc::clone(&driver)));
    assert_eq!(files.expire_uploads(Duration::ZERO, false).await.unwrap().orphans, 1);
}
