//! Large objects that others wrote: distribution's registries with dynamic manifests, other tools with static ones.

use super::{PREFIX, Place, all, opened, segments};
use crate::content::read;
use storage::{Batch, Driver, ErrorKind};

const SEGMENTS: &str = "segments/2f6/46f636b6572";

fn put(cloud: &Place, name: &str, headers: &[(&str, &str)], body: &[u8]) {
    let (status, answer) = cloud.request("PUT", &cloud.path(&format!("{PREFIX}/{name}")), headers, body).unwrap();
    assert_eq!(status, 201, "{answer}");
}

fn dynamic(cloud: &Place, name: &str, segments: &str) {
    for (index, part) in ["first ", "second ", "third"].iter().enumerate() {
        put(cloud, &format!("{segments}/{:016}", index + 1), &[], part.as_bytes());
    }
    let manifest = format!("{}/{PREFIX}/{segments}", cloud.container);
    put(cloud, &format!("files/{name}"), &[("X-Object-Manifest", &manifest)], b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn dynamic_manifests_are_served_and_deleted() {
    for cloud in all() {
        let driver = opened(&cloud).await;
        dynamic(&cloud, "a/one/data", &format!("{SEGMENTS}1"));
        // Begins like the other one's.
        dynamic(&cloud, "a/two/data", &format!("{SEGMENTS}1a"));
        dynamic(&cloud, "a/name/_uploads/1/data", &format!("{SEGMENTS}2"));
        assert_eq!(driver.stat("a/two/data").await.unwrap().size, 18);
        assert_eq!(&driver.get("a/two/data", 100).await.unwrap()[..], b"first second third");
        assert_eq!(read(&driver, "a/two/data", 4..8).await.unwrap(), b"t se");
        driver.apply(Batch::new().delete("a/one/data")).await.unwrap();
        assert_eq!(driver.stat("a/one/data").await.unwrap_err().kind, ErrorKind::NotFound);
        assert_eq!(&driver.get("a/two/data", 100).await.unwrap()[..], b"first second third");
        assert_eq!(segments(&cloud).len(), 6, "{:?}", segments(&cloud));
        driver.apply(Batch::new().delete_tree("a")).await.unwrap();
        // What was being uploaded may be a blob by now, with the same segments.
        let left = segments(&cloud);
        assert!(left.len() == 3 && left.iter().all(|name| name.contains(&format!("{SEGMENTS}2/"))), "{left:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn static_manifests_are_served_and_deleted() {
    for cloud in all() {
        let driver = opened(&cloud).await;
        let mut lines = Vec::new();
        for (index, part) in ["first ", "second"].iter().enumerate() {
            let name = format!("{SEGMENTS}/{index:016}");
            put(&cloud, &name, &[], part.as_bytes());
            lines.push(format!("{{\"path\": \"{}\"}}", cloud.path(&format!("{PREFIX}/{name}"))));
        }
        let manifest = format!("[{}]", lines.join(","));
        put(&cloud, "files/a/data?multipart-manifest=put", &[], manifest.as_bytes());
        assert_eq!(&driver.get("a/data", 100).await.unwrap()[..], b"first second");
        driver.apply(Batch::new().delete("a/data").delete("a/none")).await.unwrap();
        assert_eq!(driver.stat("a/data").await.unwrap_err().kind, ErrorKind::NotFound);
        assert_eq!(segments(&cloud), [""; 0]);
    }
}
