//! Google Cloud Storage, on the emulator.

mod faults;
mod large;
mod mistakes;
mod small;
mod tokens;

use crate::wire::exchange;
use bucket::gcs::{GcsSettings, open};
use bucket::{BucketDriver, Budget, OpenError};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BUCKET: &str = "images";

/// A running `fake-gcs-server` with one empty bucket. It ends when dropped.
struct Server {
    address: SocketAddr,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The emulator, if it is installed.
fn start() -> Option<Server> {
    let server = start_with("http", &[])?;
    let bucket = format!("{{\"name\": \"{BUCKET}\"}}");
    let answer = server.ask("POST", "/storage/v1/b?project=test", &bucket);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Some(server)
}

/// The same with another scheme, and without a bucket.
fn start_with(scheme: &str, arguments: &[&str]) -> Option<Server> {
    let Some(program) = std::env::var_os("HOMEPORT_TEST_FAKE_GCS").map(PathBuf::from) else {
        eprintln!("skipped: HOMEPORT_TEST_FAKE_GCS is not set");
        return None;
    };
    let address = crate::free_local_address().unwrap();
    let mut command = Command::new(program);
    command.args(arguments).args([
        "-scheme",
        scheme,
        "-backend",
        "memory",
        "-log-level",
        "error",
        "-host",
        "127.0.0.1",
    ]);
    // Without a port it answers by whichever port it is reached.
    command.args(["-public-host", "127.0.0.1", "-port", &address.port().to_string()]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut server = Server { address, child };
    let deadline = Instant::now() + Duration::from_secs(180);
    while TcpStream::connect(address).is_err() {
        assert!(server.child.try_wait().unwrap().is_none(), "the emulator has ended");
        assert!(Instant::now() < deadline, "the emulator does not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
    Some(server)
}

impl Server {
    /// A request of nobody's; the whole answer.
    fn ask(&self, method: &str, target: &str, body: &str) -> String {
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            self.address,
            body.len()
        );
        exchange(self.address, request.as_bytes())
    }

    fn settings(&self) -> GcsSettings {
        let mut settings = GcsSettings::new(BUCKET);
        settings.endpoint = Some(format!("http://{}", self.address));
        settings.root_directory = "/some/place".to_owned();
        settings
    }

    async fn open(&self) -> BucketDriver {
        self.try_open(|_| {}).await.unwrap()
    }

    /// With parts as small as they can be.
    async fn lowered(&self) -> BucketDriver {
        self.try_open(|settings| settings.chunk_size = 5 << 20).await.unwrap()
    }

    async fn try_open(&self, change: impl FnOnce(&mut GcsSettings)) -> Result<BucketDriver, OpenError> {
        let mut settings = self.settings();
        change(&mut settings);
        open(settings, false, Budget::new(64 << 20)).await
    }
}
