//! Azure Blob storage, on Azurite.

mod appended;
mod faults;
mod large;
mod mistakes;
mod small;
mod strict;
mod tokens;

use crate::wire::exchange;
use bucket::azure::{AzureSettings, open};
use bucket::{BucketDriver, Budget, OpenError, Secret};
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::{HttpRequest, HttpRequestBody};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ACCOUNT: &str = "homeport";
/// `homeport-secret-of-the-account`.
const KEY: &str = "aG9tZXBvcnQtc2VjcmV0LW9mLXRoZS1hY2NvdW50";
const CONTAINER: &str = "images";
const ROOT: &str = "some/place";

/// It takes a second, and much longer on a busy machine.
const START_MAX: Duration = Duration::from_secs(180);

/// A running Azurite with one empty container. It ends when dropped.
struct Server {
    address: SocketAddr,
    child: Child,
    dir: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// One server, if the program is installed.
fn start() -> Option<Server> {
    let dir = tempfile::tempdir().unwrap();
    let address = crate::free_local_address().unwrap();
    let child = spawn(address, dir.path(), &[])?;
    let mut server = Server { address, child, dir };
    server.wait();
    let answer = server.request("PUT", &format!("/{CONTAINER}?restype=container"), &[], b"");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    Some(server)
}

fn spawn(address: SocketAddr, dir: &Path, arguments: &[String]) -> Option<Child> {
    let Some(program) = std::env::var_os("HOMEPORT_TEST_AZURITE").filter(|program| !program.is_empty()) else {
        eprintln!("skipped: HOMEPORT_TEST_AZURITE is not set");
        return None;
    };
    let mut command = Command::new(program);
    command.args(["--silent", "--disableTelemetry", "--skipApiVersionCheck", "--blobHost", "127.0.0.1", "--blobPort"]);
    command.arg(address.port().to_string()).arg("--location").arg(dir).args(arguments);
    command.env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{KEY}"));
    Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

impl Server {
    fn wait(&mut self) {
        let deadline = Instant::now() + START_MAX;
        while TcpStream::connect(self.address).is_err() {
            assert!(self.child.try_wait().unwrap().is_none(), "azurite has ended");
            assert!(Instant::now() < deadline, "azurite does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts it again with what it has stored and further arguments.
    fn start_again(&mut self, arguments: &[String]) {
        // It writes down what it has every few seconds.
        let written = || std::fs::read_to_string(self.dir.path().join("__azurite_db_blob__.json")).unwrap_or_default();
        let deadline = Instant::now() + START_MAX;
        while !written().contains(&format!("\"{CONTAINER}\"")) {
            assert!(Instant::now() < deadline, "azurite does not write down its container");
            std::thread::sleep(Duration::from_millis(50));
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(self.address, self.dir.path(), arguments).unwrap();
        self.wait();
    }

    /// The account's address.
    fn service(&self, scheme: &str) -> String {
        format!("{scheme}://{}/{ACCOUNT}", self.address)
    }

    fn settings(&self) -> AzureSettings {
        let mut settings = AzureSettings::new(ACCOUNT, CONTAINER);
        settings.service_url = Some(self.service("http"));
        settings.account_key = Some(Secret(KEY.to_owned()));
        settings.root_directory = format!("/{ROOT}");
        settings
    }

    async fn open(&self) -> BucketDriver {
        self.try_open(|_| {}).await.unwrap()
    }

    /// With parts as small as they can be.
    async fn lowered(&self) -> BucketDriver {
        let settings = |settings: &mut AzureSettings| {
            settings.chunk_size = 5 << 20;
            settings.copy_chunk_size = 5 << 20;
        };
        self.try_open(settings).await.unwrap()
    }

    async fn try_open(&self, change: impl FnOnce(&mut AzureSettings)) -> Result<BucketDriver, OpenError> {
        let mut settings = self.settings();
        change(&mut settings);
        open(settings, false, Budget::new(64 << 20)).await
    }

    /// A signed request about the account; the whole answer.
    fn request(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
        let mut request = http::Request::builder().method(method).uri(format!("{}{target}", self.service("http")));
        for (name, value) in headers.iter().chain(&[("content-length", &*body.len().to_string())]) {
            request = request.header(*name, *value);
        }
        let mut request: HttpRequest = request.body(HttpRequestBody::empty()).unwrap();
        let credential = AzureCredential::AccessKey(AzureAccessKey::try_new(KEY).unwrap());
        AzureAuthorizer::new(&credential, ACCOUNT).try_authorize(&mut request).unwrap();
        let mut text =
            format!("{method} {} HTTP/1.1\r\nhost: {}\r\n", request.uri().path_and_query().unwrap(), self.address);
        for (name, value) in request.headers() {
            text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
        }
        text.push_str("connection: close\r\n\r\n");
        exchange(self.address, &[text.as_bytes(), body].concat())
    }

    /// A blob that is appended to, as distribution writes all of them.
    fn append(&self, key: &str, content: &[u8]) {
        let created = self.request("PUT", &format!("/{CONTAINER}/{key}"), &[("x-ms-blob-type", "AppendBlob")], b"");
        assert!(created.starts_with("HTTP/1.1 201"), "{created}");
        let appended = self.request("PUT", &format!("/{CONTAINER}/{key}?comp=appendblock"), &[], content);
        assert!(appended.starts_with("HTTP/1.1 201"), "{appended}");
    }

    /// Kind of a blob, as its head says it.
    fn kind(&self, key: &str) -> String {
        let answer = self.request("HEAD", &format!("/{CONTAINER}/{key}"), &[], b"");
        let line = answer.lines().find_map(|line| line.strip_prefix("x-ms-blob-type: "));
        line.unwrap_or_else(|| answer.lines().next().unwrap_or_default()).to_owned()
    }
}
