//! Real servers, when they are installed.

use bucket::s3::{S3Settings, Secret, open};
use bucket::{BucketDriver, Budget, OpenError};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) const ACCESS: &str = "homeport-access";
pub(crate) const SECRET: &str = "homeport-secret";
pub(crate) const REGION: &str = "eu-test-1";
pub(crate) const BUCKET: &str = "images";

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `go install github.com/versity/versitygw/cmd/versitygw@v1.8.0`; it checks signatures and regions.
    Versity,
    /// `moto_server` of `pip install 'moto[s3,server]'`; it keeps what settings say of objects.
    Moto,
}

impl Kind {
    const fn variable(self) -> &'static str {
        match self {
            Self::Versity => "HOMEPORT_TEST_S3_VERSITYGW",
            Self::Moto => "HOMEPORT_TEST_S3_MOTO",
        }
    }
}

/// A running server with one empty bucket. It ends when dropped.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    child: Child,
    dir: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// All servers that are installed; says so when there are none.
pub(crate) fn all() -> Vec<Server> {
    let servers: Vec<Server> = [Kind::Versity, Kind::Moto].into_iter().filter_map(start).collect();
    if servers.is_empty() {
        eprintln!("skipped: HOMEPORT_TEST_S3_VERSITYGW or HOMEPORT_TEST_S3_MOTO must name a server program");
    }
    servers
}

/// One server, if it is installed.
pub(crate) fn start(kind: Kind) -> Option<Server> {
    start_with(kind, &[])
}

/// The same with further arguments before the back end's.
pub(crate) fn start_with(kind: Kind, arguments: &[String]) -> Option<Server> {
    let Some(program) = std::env::var_os(kind.variable()).map(PathBuf::from) else {
        eprintln!("skipped: {} is not set", kind.variable());
        return None;
    };
    let dir = tempfile::tempdir().unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
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
    }
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut server = Server { kind, address, child, dir };
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(address).is_err() {
        assert!(server.child.try_wait().unwrap().is_none(), "{kind:?} has ended");
        assert!(Instant::now() < deadline, "{kind:?} does not answer");
        std::thread::yield_now();
    }
    if kind == Kind::Moto {
        let location =
            "<CreateBucketConfiguration><LocationConstraint>eu-test-1</LocationConstraint></CreateBucketConfiguration>";
        let request = format!(
            "PUT /{BUCKET} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{location}",
            location.len()
        );
        let answer = plain(address, &request);
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }
    Some(server)
}

/// A request without signature; the whole answer.
pub(crate) fn plain(address: SocketAddr, request: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

impl Server {
    pub(crate) fn settings(&self) -> S3Settings {
        let mut settings = S3Settings::new(BUCKET);
        settings.region = Some(REGION.to_owned());
        settings.region_endpoint = Some(format!("http://{}", self.address));
        settings.access_key = Some(ACCESS.to_owned());
        settings.secret_key = Some(Secret(SECRET.to_owned()));
        settings.root_directory = "/some/place".to_owned();
        settings
    }

    pub(crate) async fn open(&self) -> BucketDriver {
        self.try_open(|_| {}).await.unwrap()
    }

    pub(crate) async fn try_open(&self, change: impl FnOnce(&mut S3Settings)) -> Result<BucketDriver, OpenError> {
        let mut settings = self.settings();
        change(&mut settings);
        open(settings, false, Budget::new(64 << 20)).await
    }

    /// A folder that lives as long as the server.
    pub(crate) fn folder(&self) -> PathBuf {
        self.dir.path().to_owned()
    }
}
