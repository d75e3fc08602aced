//! S3, on servers of three makers.

mod faults;
mod large;
mod mistakes;
mod small;

use crate::ceph::Ceph;
use crate::wire::exchange;
use bucket::s3::{S3Settings, open};
use bucket::{BucketDriver, Budget, OpenError, Secret};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub(crate) const ACCESS: &str = "homeport-access";
pub(crate) const SECRET: &str = "homeport-secret";
const REGION: &str = "eu-test-1";
const BUCKET: &str = "images";

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `go install github.com/versity/versitygw/cmd/versitygw@v1.8.0`; it checks signatures and regions.
    Versity,
    /// `moto_server` of `pip install 'moto[s3,server]'`; it keeps what settings say of objects.
    Moto,
    /// Debian's `radosgw`, shared by all tests.
    Ceph,
}

impl Kind {
    const fn variable(self) -> &'static str {
        match self {
            Self::Versity => "HOMEPORT_TEST_S3_VERSITYGW",
            Self::Moto => "HOMEPORT_TEST_S3_MOTO",
            Self::Ceph => crate::ceph::VARIABLE,
        }
    }
}

/// A running server with one empty bucket. It ends when dropped.
struct Server {
    kind: Kind,
    address: SocketAddr,
    bucket: String,
    running: Running,
    dir: tempfile::TempDir,
}

enum Running {
    Own(Child),
    Shared { _ceph: Arc<Ceph> },
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Running::Own(child) = &mut self.running {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// All servers that are installed; says so when there are none.
fn all() -> Vec<Server> {
    let servers: Vec<Server> = [Kind::Versity, Kind::Moto, Kind::Ceph].into_iter().filter_map(start).collect();
    if servers.is_empty() {
        eprintln!("skipped: HOMEPORT_TEST_S3_VERSITYGW or HOMEPORT_TEST_S3_MOTO must name a server program");
    }
    servers
}

/// Of these, the ones that are installed.
fn those(kinds: &[Kind]) -> impl Iterator<Item = Server> {
    kinds.iter().copied().filter_map(start)
}

/// One server, if it is installed.
fn start(kind: Kind) -> Option<Server> {
    start_with(kind, &[])
}

/// The same with further arguments before the back end's.
fn start_with(kind: Kind, arguments: &[String]) -> Option<Server> {
    if kind == Kind::Ceph {
        return on_ceph();
    }
    let Some(program) = std::env::var_os(kind.variable()).map(PathBuf::from) else {
        eprintln!("skipped: {} is not set", kind.variable());
        return None;
    };
    let dir = tempfile::tempdir().unwrap();
    let address = crate::free_local_address().unwrap();
    let mut command = Command::new(program);
    match kind {
        Kind::Versity => {
            std::fs::create_dir_all(dir.path().join("data").join(BUCKET)).unwrap();
            command.args(["--access", ACCESS, "--secret", SECRET, "--region", REGION, "--quiet", "--keep-alive"]);
            command.args(["--port", &address.to_string()]).args(arguments);
            command.arg("posix").arg(dir.path().join("data"));
        }
        Kind::Moto => {
            command.args(["-H", "127.0.0.1", "-p", &address.port().to_string()]);
        }
        Kind::Ceph => unreachable!("is shared"),
    }
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(180);
    while TcpStream::connect(address).is_err() {
        assert!(child.try_wait().unwrap().is_none(), "{kind:?} has ended");
        assert!(Instant::now() < deadline, "{kind:?} does not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
    if kind == Kind::Moto {
        let location =
            "<CreateBucketConfiguration><LocationConstraint>eu-test-1</LocationConstraint></CreateBucketConfiguration>";
        let request = format!(
            "PUT /{BUCKET} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{location}",
            location.len()
        );
        let answer = exchange(address, request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    Some(Server { kind, address, bucket: BUCKET.to_owned(), running: Running::Own(child), dir })
}

/// A bucket of its own.
fn on_ceph() -> Option<Server> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let ceph = Ceph::shared()?;
    let bucket = format!("bucket-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let made = ceph.account.request("PUT", &format!("/{bucket}"), &[], b"").unwrap();
    assert_eq!(made.0, 201, "{}", made.1);
    let (address, dir) = (ceph.account.address, tempfile::tempdir().unwrap());
    Some(Server { kind: Kind::Ceph, address, bucket, running: Running::Shared { _ceph: ceph }, dir })
}

impl Server {
    fn settings(&self) -> S3Settings {
        let mut settings = S3Settings::new(&self.bucket);
        settings.region = Some(REGION.to_owned());
        settings.region_endpoint = Some(format!("http://{}", self.address));
        settings.access_key = Some(ACCESS.to_owned());
        settings.secret_key = Some(Secret(SECRET.to_owned()));
        settings.root_directory = "/some/place".to_owned();
        settings
    }

    async fn open(&self) -> BucketDriver {
        self.try_open(|_| {}).await.unwrap()
    }

    /// With parts as small as they can be.
    async fn lowered(&self) -> BucketDriver {
        let settings = |settings: &mut S3Settings| {
            settings.chunk_size = 5 << 20;
            settings.multipart_copy_threshold_size = 6 << 20;
            settings.multipart_copy_chunk_size = 5 << 20;
            settings.multipart_copy_max_concurrency = 3;
        };
        self.try_open(settings).await.unwrap()
    }

    async fn try_open(&self, change: impl FnOnce(&mut S3Settings)) -> Result<BucketDriver, OpenError> {
        let mut settings = self.settings();
        change(&mut settings);
        open(settings, false, Budget::new(64 << 20)).await
    }

    /// A folder that lives as long as the server.
    fn folder(&self) -> PathBuf {
        self.dir.path().to_owned()
    }
}
