//! Two replicas with one upload at the same time. Two drivers of one process are as strange to each other as two processes.

use crate::drivers::Troubled;
use crate::world::{bytes, open, repo};
use content::{Error, Settings, Store, Ticket, Upload};
use oci::{Algorithm, Digest};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use storage::Driver;
use storage::fs::{FsDriver, FsOptions};
use storage::memory::MemoryDriver;

fn processes(folder: &tempfile::TempDir) -> ([Arc<FsDriver>; 2], [Arc<Store>; 2]) {
    let process = || Arc::new(FsDriver::open(FsOptions::new(folder.path())).unwrap());
    let drivers = [process(), process()];
    let stores = drivers.clone().map(|driver| Store::new(driver, Settings::default()));
    (drivers, stores)
}

/// An upload whose first chunk is recorded, as its ticket says, and whose second one is being taken.
async fn under_way(store: &Arc<Store>, first: &[u8], second: &[u8]) -> (Ticket, Upload) {
    let begun = store.upload_begin(repo(), Algorithm::Sha256, None);
    let mut upload = store.upload_open(repo(), begun.id, Some(&begun), None).await.unwrap();
    upload.write(first).await.unwrap();
    let ticket = upload.suspend().await.unwrap();
    let mut upload = store.upload_open(repo(), ticket.id, Some(&ticket), None).await.unwrap();
    upload.write(second).await.unwrap();
    (ticket, upload)
}

#[tokio::test]
async fn who_brings_the_end_of_an_upload_that_is_gone_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let (drivers, [first, second]) = processes(&folder);
    let content = bytes(5, 600 * 1024);
    let (ticket, upload) = under_way(&first, &content[..300 * 1024], &content[300 * 1024..]).await;
    second.upload_cancel(repo(), ticket.id, Some(&ticket)).await.unwrap();
    let digest = Digest::sha256(&content);
    let ended = upload.commit(repo(), digest).await;
    assert!(matches!(ended, Err(Error::UploadUnknown)), "{ended:?}");
    let again = first.upload_open(repo(), ticket.id, Some(&ticket), None).await.err();
    assert!(matches!(again, Some(Error::UploadUnknown)), "{again:?}");
    assert!(matches!(first.blob_open(repo(), digest).await, Err(Error::BlobUnknown)));
    for driver in drivers {
        driver.close().await.unwrap();
    }
}

/// Whose turn comes late has read what is not true any more.
#[tokio::test]
async fn who_waits_for_an_upload_takes_nothing_of_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let (drivers, [first, second]) = processes(&folder);
    let content = bytes(5, 900 * 1024);
    let (one, two) = (300 * 1024, 600 * 1024);
    let (ticket, upload) = under_way(&first, &content[..one], &content[one..two]).await;
    let goes_on = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        upload.suspend().await.unwrap()
    };
    let waits = second.upload_open(repo(), ticket.id, Some(&ticket), None);
    let (late, ticket) = tokio::join!(waits, goes_on);
    let late = late.map(|_| "it goes on").unwrap_err();
    assert!(matches!(late, Error::OutOfOrder { offset } if offset == two as u64), "{late:?}");
    let mut upload = second.upload_open(repo(), ticket.id, Some(&ticket), None).await.unwrap();
    upload.write(&content[two..]).await.unwrap();
    let digest = Digest::sha256(&content);
    upload.commit(repo(), digest).await.unwrap();
    assert_eq!(first.blob_small(repo(), digest, content.len()).await.unwrap(), content);
    for driver in drivers {
        driver.close().await.unwrap();
    }
}

/// A client that hangs up does not let go of a file whose record is on its way.
#[tokio::test]
async fn what_is_being_recorded_is_recorded_before_anybody_else_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (drivers, [first, second]) = processes(&folder);
    let content = bytes(5, 600 * 1024);
    let (ticket, upload) = under_way(&first, &content[..300 * 1024], &content[300 * 1024..]).await;
    let mut recording = Box::pin(upload.suspend());
    let begun = std::future::poll_fn(|cx| Poll::Ready(recording.as_mut().poll(cx).is_pending())).await;
    assert!(begun, "it waits for the disk");
    drop(recording);
    let late = second.upload_open(repo(), ticket.id, Some(&ticket), None).await.map(drop);
    assert!(matches!(late, Err(Error::OutOfOrder { offset }) if offset == content.len() as u64), "{late:?}");
    for driver in drivers {
        driver.close().await.unwrap();
    }
}

/// Whose client was given up long ago does not write over what another process has acknowledged since.
#[tokio::test]
async fn who_comes_late_takes_nothing_of_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let (drivers, stores) = processes(&folder);
    let memory = Arc::new(MemoryDriver::default());
    let services = [(); 2].map(|()| open(Troubled::one_by_one(Arc::clone(&memory)).remote(true)));
    for [first, second] in [stores, services] {
        let mut ticket = first.upload_begin(repo(), Algorithm::Sha256, None);
        // The first chunk, one that is in the record, and one that is not.
        for size in [1000, 2000, 300 * 1024] {
            let (content, id) = (bytes(5, size), ticket.id);
            let mut stalled = first.upload_open(repo(), id, Some(&ticket), None).await.unwrap();
            stalled.write(&content[..10]).await.unwrap();
            let mut upload = second.upload_open(repo(), id, Some(&ticket), None).await.unwrap();
            upload.write(&content).await.unwrap();
            ticket = upload.suspend().await.unwrap();
            let late = stalled.suspend().await.map(drop);
            assert!(matches!(late, Err(Error::OutOfOrder { offset }) if offset == ticket.offset), "{size} {late:?}");
        }
    }
    for driver in drivers {
        driver.close().await.unwrap();
    }
}
