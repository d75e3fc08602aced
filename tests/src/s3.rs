//! A service that speaks S3.

use anyhow::{Context, Result, ensure};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ACCESS: &str = "homeport-access";
const SECRET: &str = "homeport-secret";
const REGION: &str = "eu-test-1";
const BUCKET: &str = "images";
const ROOT: &str = "some/root";
const START_MAX: Duration = Duration::from_secs(30);

/// A running service with one bucket, kept in a folder; killed when dropped.
pub struct S3 {
    child: Child,
    address: SocketAddr,
    program: PathBuf,
    dir: tempfile::TempDir,
}

impl S3 {
    /// Starts one; `None` where the program is not installed.
    ///
    /// # Errors
    /// It does not start.
    pub fn start() -> Result<Option<Self>> {
        let named = std::env::var_os("HOMEPORT_TEST_S3_VERSITYGW").filter(|value| !value.is_empty());
        let Some(program) = named.map(PathBuf::from).or_else(|| crate::tool("versitygw")) else { return Ok(None) };
        let dir = tempfile::tempdir()?;
        std::fs::create_dir_all(dir.path().join("data").join(BUCKET))?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = spawn(&program, address, dir.path())?;
        let mut service = Self { child, address, program, dir };
        service.wait()?;
        Ok(Some(service))
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again at the same address, with what it has stored.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_again(&mut self) -> Result<()> {
        self.child = spawn(&self.program, self.address, self.dir.path())?;
        self.wait()
    }

    fn wait(&mut self) -> Result<()> {
        let until = Instant::now() + START_MAX;
        while TcpStream::connect(self.address).is_err() {
            ensure!(self.child.try_wait()?.is_none(), "the S3 service has ended");
            ensure!(Instant::now() < until, "the S3 service does not answer");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Scheme and host.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A configuration of a registry on the bucket; deleting is allowed, and everybody may read the metrics. `more` are
    /// further keys of `storage`, such as `redirect: {disable: true}`.
    #[must_use]
    pub fn config(&self, more: &str) -> String {
        let comma = if more.is_empty() { "" } else { ", " };
        format!(
            "version: 0.1\nstorage: {{delete: {{enabled: true}}{comma}{more}, s3: {{bucket: {BUCKET}, region: {REGION}, \
             regionendpoint: '{}', accesskey: {ACCESS}, secretkey: {SECRET}, rootdirectory: /{ROOT}}}}}\n\
             http: {{secret: 'the secret that all replicas share'}}\nhomeport: {{metrics: {{access: open}}}}\n",
            self.endpoint()
        )
    }

    /// The keys in the bucket, without the root.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let root = self.dir.path().join("data").join(BUCKET).join(ROOT);
        let mut keys = Vec::new();
        walk(&root, &root, &mut keys);
        keys.sort();
        keys
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        drop(self.kill());
    }
}

fn spawn(program: &Path, address: SocketAddr, dir: &Path) -> Result<Child> {
    let mut command = Command::new(program);
    command.args(["--access", ACCESS, "--secret", SECRET, "--region", REGION, "--quiet", "--keep-alive"]);
    command.args(["--port", &address.to_string(), "posix"]).arg(dir.join("data"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().with_context(|| program.display().to_string())
}

fn walk(folder: &Path, root: &Path, keys: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, root, keys);
        } else if let Ok(key) = path.strip_prefix(root) {
            keys.push(key.to_string_lossy().into_owned());
        }
    }
}
