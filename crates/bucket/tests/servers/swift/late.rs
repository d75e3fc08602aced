//! Copies that are late: what answers first may not know of the last write, as after a node of the cloud was away.

use super::{PREFIX, Place, lowered, segments, start, try_open};
use crate::between;
use crate::content::{self, pattern, read};
use bucket::{BucketDriver, Leftovers};
use std::time::Duration;
use storage::{Batch, Driver};

const KEY: &str = "large/data";

/// A driver that gets this `answer` to a `method` of one name, unless it asks for the newest copy.
async fn late(cloud: &Place, method: &str, name: &str, answer: String) -> BucketDriver {
    let line = format!("{method} {}{} ", cloud.path, cloud.path(name));
    let address = between::start(cloud.address, move |head| {
        (head.starts_with(&line) && !head.contains("x-newest: true")).then(|| answer.clone())
    });
    let behind = |settings: &mut bucket::swift::SwiftSettings| {
        settings.auth_url = format!("http://{address}/auth/v1.0");
        settings.chunk_size = 5 << 20;
    };
    try_open(cloud, behind).await.unwrap()
}

/// The head of a large object that was there before, with segments that are gone.
fn older(size: usize) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nX-Trans-Id: 1\r\nX-Static-Large-Object: True\r\n\
         X-Object-Meta-Homeport-Segments: {}\r\nETag: \"1\"\r\nLast-Modified: Fri, 20 Nov 2026 10:00:00 GMT\r\n\
         Content-Length: {size}\r\n\r\n",
        uuid::Uuid::new_v4()
    )
}

fn content(text: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nX-Trans-Id: 1\r\nLast-Modified: Fri, 20 Nov 2026 10:00:00 GMT\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    )
}

async fn write(driver: &BucketDriver, data: &[u8]) {
    content::write(driver, KEY, true, data).await.unwrap();
}

/// Where the segments are of the only large object.
fn set(cloud: &Place) -> String {
    segments(cloud)[0].rsplit_once('/').unwrap().0.to_owned()
}

/// Writes a note on segments, as a process leaves it that was killed; where it is.
fn leave_note(cloud: &Place, set: &str, owners: &[&str]) -> String {
    let id = set.rsplit_once('/').unwrap().1;
    let name = format!("{PREFIX}/segments/homeport-unfinished/{}/{id}", owners[0]);
    let put = cloud.request("PUT", &cloud.path(&name), &[], note(set, owners).as_bytes()).unwrap();
    assert_eq!(put.0, 201, "{}", put.1);
    name
}

fn note(set: &str, owners: &[&str]) -> String {
    serde_json::json!({"segments": set, "owners": owners}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_stay_with_the_newest_object_and_go_with_it() {
    let Some(cloud) = start() else { return };
    let (direct, data) = (lowered(&cloud).await, pattern(11 << 20));
    write(&direct, &data).await;
    let owner = format!("{PREFIX}/files/{KEY}");
    leave_note(&cloud, &set(&cloud), &[&owner]);
    let behind = late(&cloud, "HEAD", &owner, older(data.len())).await;
    let left = behind.remove_leftovers(&["large"], Duration::ZERO).await.unwrap();
    assert_eq!(left, Leftovers { uploads: 1, objects: 0 }, "the note");
    assert!(read(&direct, KEY, 0..u64::MAX).await.unwrap() == data);
    behind.apply(Batch::new().delete(KEY)).await.unwrap();
    assert_eq!(segments(&cloud), [""; 0]);
}

/// A process was killed when what it had moved to its place was there. Before the move the note had no owner but the session.
#[tokio::test(flavor = "multi_thread")]
async fn the_newest_note_counts() {
    let Some(cloud) = start() else { return };
    let (direct, data) = (lowered(&cloud).await, pattern(11 << 20));
    write(&direct, &data).await;
    let session = format!("{PREFIX}/files/homeport/v1/uploads/{}", uuid::Uuid::new_v4());
    let set = set(&cloud);
    let name = leave_note(&cloud, &set, &[&session, &format!("{PREFIX}/files/{KEY}")]);
    let behind = late(&cloud, "GET", &name, content(&note(&set, &[&session]))).await;
    let left = behind.remove_leftovers(&["large"], Duration::ZERO).await.unwrap();
    assert_eq!(left, Leftovers { uploads: 1, objects: 0 }, "the note");
    assert!(read(&direct, KEY, 0..u64::MAX).await.unwrap() == data);
}

/// What is there is kept when it is as good as what comes; the newest has another length.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_object_is_not_kept() {
    let Some(cloud) = start() else { return };
    let (direct, data) = (lowered(&cloud).await, pattern(11 << 20));
    write(&direct, &pattern((12 << 20) + 7)).await;
    let behind = late(&cloud, "HEAD", &format!("{PREFIX}/files/{KEY}"), older(data.len())).await;
    write(&behind, &data).await;
    assert!(read(&direct, KEY, 0..u64::MAX).await.unwrap() == data);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_is_about_the_newest_object() {
    let Some(cloud) = start() else { return };
    let direct = lowered(&cloud).await;
    direct.apply(Batch::new().put("team/owner", "new").put("team/a/b", "1")).await.unwrap();
    let behind = late(&cloud, "GET", &format!("{PREFIX}/files/team/owner"), content("old")).await;
    assert_eq!(&behind.get("team/owner", 10).await.unwrap()[..], b"old", "whoever only reads takes what is near");
    behind.apply(Batch::new().delete_tree_if("team", "team/owner", "old")).await.unwrap();
    assert_eq!(&direct.get("team/a/b", 10).await.unwrap()[..], b"1");
    behind.apply(Batch::new().delete_tree_if("team", "team/owner", "new")).await.unwrap();
    assert!(direct.get("team/a/b", 10).await.unwrap_err().is_not_found());
}
