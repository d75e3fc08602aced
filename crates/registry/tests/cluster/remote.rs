//! Content that is on another machine.

use crate::http::Answer;
use crate::world::World;
use bytes::Bytes;
use oci::Digest;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use storage::memory::MemoryDriver;
use storage::{
    Batch, ByteStream, Driver, Error, ErrorKind, Eventually, ListPage, Object, ObjectBody, RemoteObject, Result, Stat,
    Task, Writer,
};

/// Content arrives in pieces of this size.
const PIECE: usize = 7;

#[derive(Default)]
struct Counts {
    links: AtomicUsize,
    looks: AtomicUsize,
    reads: AtomicUsize,
}

/// Gives out addresses, and objects that have to be fetched.
struct Far {
    near: MemoryDriver,
    counts: Arc<Counts>,
    /// An object breaks off after so many of its bytes.
    breaks_after: usize,
    addresses: bool,
}

#[derive(Debug)]
struct FarObject(Bytes, usize);

impl RemoteObject for FarObject {
    fn read(self: Arc<Self>, range: Range<u64>) -> ByteStream {
        let at = |at: u64| usize::try_from(at).unwrap();
        let (bytes, end) = (self.0.clone(), at(range.end));
        let mut pieces = Vec::new();
        for start in (at(range.start)..end).step_by(PIECE) {
            let piece = bytes.slice(start..end.min(start + PIECE));
            pieces.push(if start < self.1 { Ok(piece) } else { Err(io::ErrorKind::ConnectionReset.into()) });
        }
        Box::pin(futures_util::stream::iter(pieces))
    }
}

impl Driver for Far {
    fn stat<'a>(&'a self, key: &'a str) -> Eventually<'a, Result<Stat>> {
        self.counts.looks.fetch_add(1, Ordering::SeqCst);
        self.near.stat(key)
    }

    fn get<'a>(&'a self, key: &'a str, max: usize) -> Eventually<'a, Result<Bytes>> {
        self.counts.links.fetch_add(1, Ordering::SeqCst);
        self.near.get(key, max)
    }

    fn read<'a>(&'a self, key: &'a str, max: usize) -> Eventually<'a, Result<(Stat, Bytes)>> {
        self.near.read(key, max)
    }

    fn open<'a>(&'a self, key: &'a str) -> Eventually<'a, Result<Object>> {
        Eventually::pending(async move {
            self.counts.reads.fetch_add(1, Ordering::SeqCst);
            let Object { size, body } = self.near.open(key).await?;
            let ObjectBody::Bytes(bytes) = body else {
                return Err(Error::new(ErrorKind::Unavailable, "open", key, "not in memory"));
            };
            Ok(Object { size, body: ObjectBody::Remote(Arc::new(FarObject(bytes, self.breaks_after))) })
        })
    }

    fn list<'a>(&'a self, prefix: &'a str, after: &'a str, limit: usize) -> Eventually<'a, Result<ListPage>> {
        self.near.list(prefix, after, limit)
    }

    fn apply(&self, batch: Batch) -> Task<'_, ()> {
        self.near.apply(batch)
    }

    fn writer(&self, size_hint: Option<u64>) -> Task<'_, Box<dyn Writer>> {
        self.near.writer(size_hint)
    }

    fn resume<'a>(&'a self, handle: &'a str, offset: u64) -> Task<'a, Box<dyn Writer>> {
        self.near.resume(handle, offset)
    }

    fn discard<'a>(&'a self, handle: &'a str) -> Task<'a, ()> {
        self.near.discard(handle)
    }

    fn presign<'a>(&'a self, key: &'a str, ttl: Duration) -> Task<'a, Option<String>> {
        let address = self.addresses.then(|| format!("https://storage.test/{key}?for={}", ttl.as_secs()));
        Box::pin(async { Ok(address) })
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn probe(&self) -> Task<'_, ()> {
        self.near.probe()
    }

    fn close(&self) -> Task<'_, ()> {
        self.near.close()
    }
}

const BLOB: &[u8] = b"a blob of more bytes than one piece has";

/// A registry with [`BLOB`] in `shop/a`.
struct Remote {
    world: World,
    counts: Arc<Counts>,
}

impl Remote {
    async fn new(redirect: bool, change: impl FnOnce(&mut Far)) -> Self {
        let counts = Arc::new(Counts::default());
        let front = |near| {
            let mut far = Far { near, counts: Arc::clone(&counts), breaks_after: usize::MAX, addresses: true };
            change(&mut far);
            Arc::new(far) as Arc<dyn Driver>
        };
        let world = World::on(redirect, front).await;
        let pushed = format!("/v2/shop/a/blobs/uploads/?digest={}", Digest::sha256(BLOB));
        assert_eq!(world.ci("POST", &pushed, BLOB).await.status, 201);
        Self { world, counts }
    }

    async fn get(&self, headers: &[(&str, &str)]) -> Answer {
        self.world.ci_with("GET", &path(), headers).await
    }

    fn requests(&self) -> [usize; 3] {
        [&self.counts.links, &self.counts.looks, &self.counts.reads].map(|count| count.load(Ordering::SeqCst))
    }
}

fn path() -> String {
    format!("/v2/shop/a/blobs/{}", Digest::sha256(BLOB))
}

fn hex() -> String {
    Digest::sha256(BLOB).to_string().replace("sha256:", "")
}

#[tokio::test]
async fn whole_blobs_and_single_ranges_are_fetched_from_storage() {
    let remote = Remote::new(true, |_| {}).await;
    let before = remote.requests();
    for headers in [&[][..], &[("range", "bytes=2-5")], &[("range", "bytes=-3")], &[("range", "nonsense")]] {
        let answer = remote.get(headers).await;
        assert_eq!((answer.status, answer.body.as_str()), (307, ""), "{headers:?}");
        let hex = hex();
        let address = format!("https://storage.test/docker/registry/v2/blobs/sha256/{}/{hex}/data?for=1200", &hex[..2]);
        assert_eq!(answer.header("location"), address);
        assert_eq!(answer.header("docker-content-digest"), Digest::sha256(BLOB).to_string());
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("content-length"), "0");
        assert_eq!(answer.header("etag"), "", "it would be taken for the target's");
    }
    assert_eq!(remote.requests(), before, "storage was not asked");
    let metrics = remote.world.ci("GET", "/extensions/v2/metrics", b"").await.body;
    for figure in ["homeport_blob_redirects_total 4", "outside_figures 1"] {
        assert!(metrics.contains(&format!("\n{figure}\n")), "{metrics}");
    }
}

#[tokio::test]
async fn what_storage_cannot_answer_is_answered_here() {
    let remote = Remote::new(true, |_| {}).await;
    let tag = format!("\"{}\"", Digest::sha256(BLOB));
    let head = remote.world.ci_with("HEAD", &path(), &[]).await;
    assert_eq!((head.status, head.header("content-length")), (200, "39"));
    assert_eq!(remote.get(&[("if-none-match", &tag)]).await.status, 304);
    let other = remote.get(&[("if-none-match", "\"other\"")]).await;
    assert_eq!((other.status, other.body.as_bytes()), (200, BLOB));
    let same = remote.get(&[("range", "bytes=2-5"), ("if-range", &tag)]).await;
    assert_eq!((same.status, same.body.as_str()), (206, "blob"));
    let other = remote.get(&[("range", "bytes=2-5"), ("if-range", "\"other\"")]).await;
    assert_eq!((other.status, other.body.as_bytes()), (200, BLOB));
    let several = remote.get(&[("range", "bytes=2-5,0-0")]).await;
    assert_eq!(several.status, 206, "{}", several.body);
}

#[tokio::test]
async fn nobody_is_sent_to_what_he_has_not() {
    let remote = Remote::new(true, |_| {}).await;
    let elsewhere = format!("/v2/shop/other/blobs/{}", Digest::sha256(BLOB));
    assert_eq!(remote.world.ci("GET", &elsewhere, b"").await.refusal(), (404, "BLOB_UNKNOWN".to_owned()));
    let foreign = format!("/v2/bank/a/blobs/{}", Digest::sha256(BLOB));
    let refused = remote.world.ci("GET", &foreign, b"").await;
    assert!([401, 403].contains(&refused.status), "{}", refused.status);
    assert_eq!(refused.header("location"), "");
    let anonymous = remote.world.send(None, "GET", &path(), b"").await;
    assert_eq!((anonymous.status, anonymous.header("location")), (401, ""));
}

#[tokio::test]
async fn without_redirects_the_bytes_pass_through() {
    let off = Remote::new(false, |_| {}).await;
    let no_addresses = Remote::new(true, |far| far.addresses = false).await;
    for remote in [off, no_addresses] {
        let whole = remote.get(&[]).await;
        assert_eq!((whole.status, whole.body.as_bytes()), (200, BLOB));
        assert_eq!(whole.header("content-length"), "39");
        for (range, expected) in
            [("bytes=0-0", 0..1), ("bytes=5-25", 5..26), ("bytes=38-", 38..39), ("bytes=-9", 30..39)]
        {
            let part = remote.get(&[("range", range)]).await;
            assert_eq!((part.status, part.body.as_bytes()), (206, &BLOB[expected.clone()]), "{range}");
            let said = format!("bytes {}-{}/39", expected.start, expected.end - 1);
            assert_eq!(part.header("content-range"), said);
        }
        let beyond = remote.get(&[("range", "bytes=39-")]).await;
        assert_eq!((beyond.status, beyond.header("content-range")), (416, "bytes */39"));
    }
}

#[tokio::test]
async fn several_ranges_come_one_after_the_other() {
    let remote = Remote::new(false, |_| {}).await;
    let answer = remote.get(&[("range", "bytes=0-9,20-20,30-38")]).await;
    assert_eq!(answer.status, 206);
    let kind = answer.header("content-type").to_owned();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let mut expected = String::new();
    for (range, lead) in [(0..10, ""), (20..21, "\r\n"), (30..39, "\r\n")] {
        let (first, last) = (range.start, range.end - 1);
        let text = String::from_utf8_lossy(&BLOB[range]);
        expected += &format!(
            "{lead}--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {first}-{last}/39\r\n\r\n{text}"
        );
    }
    expected += &format!("\r\n--{boundary}--\r\n");
    assert_eq!(answer.body, expected);
    assert_eq!(answer.header("content-length"), expected.len().to_string());
}

#[tokio::test]
async fn an_answer_whose_source_breaks_does_not_look_whole() {
    let remote = Remote::new(false, |far| far.breaks_after = 14).await;
    // Nothing at all may arrive: the connection is given up while the head is still on its way.
    let broken = remote.get(&[]).await;
    assert!(BLOB[..14].starts_with(broken.body.as_bytes()), "{}", broken.body);
    let several = remote.get(&[("range", "bytes=0-3,10-30")]).await;
    assert!(!several.body.contains("--\r\n"), "{}", several.body);
}
