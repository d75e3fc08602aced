//! What happens to a large object's place when something is there already.

use super::{PREFIX, Place, all, lowered, segments, start};
use crate::content::{self, pattern};
use bucket::{BucketDriver, Leftovers};
use std::time::Duration;
use storage::Driver;

const KEY: &str = "docker/registry/v2/blobs/sha256/aa/aabb/data";
/// Segments of distribution.
const OLD: &str = "segments/2f6/46f636b6572";

async fn whole(driver: &BucketDriver) -> Vec<u8> {
    content::whole(driver, KEY).await
}

async fn write(driver: &BucketDriver, at: bool, data: &[u8]) {
    content::write(driver, KEY, at, data).await.unwrap();
}

fn put(cloud: &Place, name: &str, headers: &[(&str, &str)], body: &[u8]) {
    let (status, answer) = cloud.request("PUT", &cloud.path(&format!("{PREFIX}/{name}")), headers, body).unwrap();
    assert_eq!(status, 201, "{answer}");
}

fn delete(cloud: &Place, name: &str) {
    let (status, answer) = cloud.request("DELETE", &cloud.path(name), &[], b"").unwrap();
    assert_eq!(status, 204, "{answer}");
}

/// How many sets of segments go that nobody has.
async fn given_up(driver: &BucketDriver) -> usize {
    let left = driver.remove_leftovers(&["docker"], Duration::ZERO).await.unwrap();
    assert_eq!(left, Leftovers { objects: 0, ..left });
    left.uploads
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_once_more_keeps_what_is_there() {
    for cloud in all() {
        let data = pattern(11 << 20);
        write(&lowered(&cloud).await, true, &data).await;
        let first = segments(&cloud);
        for at in [true, false] {
            let other = lowered(&cloud).await;
            write(&other, at, &data).await;
            assert_eq!(segments(&cloud), first, "its own are gone at once");
            assert_eq!(given_up(&other).await, 0);
            assert!(whole(&other).await == data);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_to_its_end_is_written_over() {
    for cloud in all() {
        let (driver, data) = (lowered(&cloud).await, pattern(11 << 20));
        write(&driver, true, &data).await;
        let first = segments(&cloud);
        delete(&cloud, first.last().unwrap());
        write(&driver, true, &data).await;
        assert!(whole(&driver).await == data);
        assert_eq!(given_up(&driver).await, 1);
        assert!(first.iter().all(|name| !segments(&cloud).contains(name)));
        assert!(whole(&driver).await == data);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_of_an_old_registry_is_kept_while_it_is_whole() {
    for cloud in all() {
        let (driver, data) = (lowered(&cloud).await, pattern(11 << 20));
        for (index, part) in data.chunks(4 << 20).enumerate() {
            put(&cloud, &format!("{OLD}/{:016}", index + 1), &[], part);
        }
        let manifest = format!("{}/{PREFIX}/{OLD}", cloud.container);
        put(&cloud, &format!("files/{KEY}"), &[("X-Object-Manifest", &manifest)], b"");
        let old = segments(&cloud);
        for at in [true, false] {
            write(&driver, at, &data).await;
            assert_eq!((segments(&cloud), given_up(&driver).await), (old.clone(), 0));
        }
        delete(&cloud, old.last().unwrap());
        write(&driver, true, &data).await;
        assert!(whole(&driver).await == data);
        assert_eq!(given_up(&driver).await, 1);
        assert!(segments(&cloud).iter().all(|name| !name.contains(OLD)));
        assert!(whole(&driver).await == data);
    }
}

/// A plain object has nothing that would be left, so that it need not be kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_plain_object_is_written_over() {
    let Some(cloud) = start() else { return };
    let (driver, data) = (lowered(&cloud).await, pattern(11 << 20));
    for plain in [&data[..], b"broken"] {
        put(&cloud, &format!("files/{KEY}"), &[], plain);
        write(&driver, true, &data).await;
        assert!(whole(&driver).await == data);
        assert_eq!(segments(&cloud).len(), 3);
        driver.apply(storage::Batch::new().delete(KEY)).await.unwrap();
        assert_eq!((segments(&cloud), given_up(&driver).await), (Vec::new(), 0));
    }
}

/// What comes in one piece has no segments, and those of what was there go later.
#[tokio::test(flavor = "multi_thread")]
async fn segments_under_a_plain_object_go_when_they_are_old() {
    for cloud in all() {
        let (driver, data) = (lowered(&cloud).await, pattern(11 << 20));
        write(&driver, true, &data).await;
        let first = segments(&cloud);
        write(&driver, true, b"in one piece").await;
        assert_eq!(whole(&driver).await, b"in one piece");
        assert!(first.iter().all(|name| segments(&cloud).contains(name)), "somebody may be reading them");
        assert_eq!(given_up(&driver).await, 1);
        assert_eq!(segments(&cloud), [""; 0]);
        assert_eq!(whole(&driver).await, b"in one piece");
    }
}
