//! Large objects.

use super::{PREFIX, all, lowered, opened, segments, try_open};
use crate::alike::{self, nothing_is_left};
use crate::content::{pattern, read, whole, write};
use bucket::{BucketDriver, Leftovers, Request};
use std::time::Duration;
use storage::{Batch, Driver};

#[tokio::test(flavor = "multi_thread")]
async fn segments_become_one_object_and_go_with_it() {
    for cloud in all() {
        let driver = lowered(&cloud).await;
        let data = pattern((23 << 20) + 5);
        alike::large_objects_are_seen_whole(&driver, &data).await;
        let middle = read(&driver, "large/later/data", 5_000_000..15_500_010).await.unwrap();
        assert!(middle == data[5_000_000..15_500_010]);
        assert_eq!(driver.requests().all(Request::Part), 2 * 5);
        assert_eq!(driver.requests().all(Request::Copy), 0, "no bytes are moved");
        nothing_is_left(&driver).await;
        assert!(whole(&driver, "large/later/data").await == data, "still there when leftovers are gone");
        driver.apply(Batch::new().delete("large/at/data")).await.unwrap();
        assert!(whole(&driver, "large/later/data").await == data, "each has its own");
        driver.apply(Batch::new().delete_tree("large")).await.unwrap();
        assert_eq!(segments(&cloud), [""; 0]);
    }
}

/// The segments of what is written over go later, those of the new object stay.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_written_over() {
    for cloud in all() {
        let driver = lowered(&cloud).await;
        let (first, second) = (pattern(11 << 20), pattern((12 << 20) + 7));
        write(&driver, "large/data", true, &first).await.unwrap();
        let before = segments(&cloud);
        write(&driver, "large/data", true, &second).await.unwrap();
        assert!(whole(&driver, "large/data").await == second);
        assert!(before.iter().all(|name| segments(&cloud).contains(name)), "somebody may be reading them");
        let left = driver.remove_leftovers(&["large"], Duration::ZERO).await.unwrap();
        assert_eq!(left, Leftovers { uploads: 1, objects: 0 });
        assert!(before.iter().all(|name| !segments(&cloud).contains(name)));
        assert!(whole(&driver, "large/data").await == second);
    }
}

/// A process was killed after its object was there, and before its note was gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_note_on_what_is_in_use_removes_nothing() {
    for cloud in all() {
        let driver = lowered(&cloud).await;
        let data = pattern(11 << 20);
        write(&driver, "large/data", true, &data).await.unwrap();
        let set = segments(&cloud)[0].rsplit_once('/').unwrap().0.to_owned();
        let id = set.rsplit_once('/').unwrap().1;
        let note = cloud.path(&format!("{PREFIX}/segments/homeport-unfinished/{PREFIX}/files/large/data/{id}"));
        let text = format!("{{\"segments\":\"{set}\",\"owners\":[\"{PREFIX}/files/large/data\"]}}");
        assert_eq!(cloud.request("PUT", &note, &[], text.as_bytes()).unwrap().0, 201);
        let left = driver.remove_leftovers(&["large"], Duration::ZERO).await.unwrap();
        assert_eq!(left, Leftovers { uploads: 1, objects: 0 }, "the note");
        nothing_is_left(&driver).await;
        assert!(whole(&driver, "large/data").await == data);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_processes_go_on() {
    for cloud in all() {
        for at in [true, false] {
            alike::other_processes_go_on(async || lowered(&cloud).await, at, 2).await;
            lowered(&cloud).await.apply(Batch::new().delete_tree("large")).await.unwrap();
            assert_eq!(segments(&cloud), [""; 0], "also those of attempts that were lost");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unlike_attempts_do_not_mix() {
    for cloud in all() {
        for at in [true, false] {
            alike::unlike_attempts_do_not_mix(async || lowered(&cloud).await, at, true).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_broken_off_is_removed_when_it_is_old() {
    for cloud in all() {
        alike::what_is_broken_off_is_removed_when_it_is_old(&lowered(&cloud).await, true).await;
        assert_eq!(segments(&cloud), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn temporary_addresses_need_no_credentials() {
    for cloud in all() {
        let driver = lowered(&cloud).await;
        let data = pattern(11 << 20);
        write(&driver, "blob/data", true, &data).await.unwrap();
        driver.apply(Batch::new().put("blob/small ä&", "content")).await.unwrap();
        let get = |target: &str| cloud.exchange(&format!("GET {target} HTTP/1.1\r\n"), b"").unwrap();
        let target = async |driver: &BucketDriver, key: &str| {
            let url = driver.presign(key, Duration::from_secs(60)).await.unwrap().unwrap();
            url.strip_prefix(&format!("http://{}", cloud.address)).unwrap().to_owned()
        };
        let small = target(&driver, "blob/small ä&").await;
        assert!(get(&small).1.ends_with("\r\n\r\ncontent"), "{}", get(&small).1);
        assert!(matches!(get(&small.replace("blob", "blog")).0, 401 | 403));
        let large = get(&target(&driver, "blob/data").await);
        assert_eq!(large.0, 200, "the segments are in the same container");
        assert!(large.1.contains(&format!("Content-Length: {}", data.len())), "{}", &large.1[..500]);
        // Replicas find the key that is there; another one is set where the settings have it.
        let other = opened(&cloud).await;
        assert_eq!(get(&target(&other, "blob/small ä&").await).0, 200);
        let keyed = |settings: &mut bucket::swift::SwiftSettings| {
            settings.secret_key = Some(bucket::Secret("given".to_owned()));
        };
        let keyed = try_open(&cloud, keyed).await.unwrap();
        assert_eq!(get(&target(&keyed, "blob/small ä&").await).0, 200);
        let container = cloud.request("HEAD", &cloud.path(""), &[], b"").unwrap().1;
        let account = cloud.request("HEAD", "", &[], b"").unwrap().1;
        let given =
            |head: &str, name: &str| head.to_ascii_lowercase().contains(&format!("x-{name}-meta-temp-url-key: given"));
        // Ceph knows no keys of containers.
        assert_eq!(given(&container, "container"), cloud.keeps_conditions(), "{container}");
        assert_eq!(given(&account, "account"), !cloud.keeps_conditions(), "{account}");
    }
}
