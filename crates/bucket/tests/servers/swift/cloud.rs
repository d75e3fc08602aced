//! All of Swift in one folder: its proxy with its own way to sign in, one server of each kind, and memcached for the tokens.

use std::io::{BufRead, BufReader, Error, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Names the program of the proxy; the others are beside it, as Debian's packages put them.
pub(crate) const VARIABLE: &str = "HOMEPORT_TEST_SWIFT";
/// May do everything in its account.
pub(crate) const USER: &str = "test:tester";
/// Its password.
pub(crate) const PASSWORD: &str = "a-password-of-16-and-more";
/// Of the same account, but without a role.
pub(crate) const STRANGER: &str = "test:stranger";

const PROGRAMS: [&str; 5] =
    ["memcached", "swift-account-server", "swift-container-server", "swift-object-server", "swift-proxy-server"];
const START_MAX: Duration = Duration::from_secs(180);
/// How long the servers wait for each other. After the usual times what was written is in no list until an updater comes by,
/// and there is none.
const WAITS: &str = "conn_timeout = 30\nnode_timeout = 120\ncontainer_update_timeout = 120\n";
/// A proxy that does not wait for memcached knows no tokens.
const CACHE_WAITS: &str = "connect_timeout = 30\npool_timeout = 30\nio_timeout = 30\nerror_suppression_interval = 0\n";
/// The exit code that says that the folder cannot hold objects.
const NO_ATTRIBUTES: i32 = 3;

/// Makes the rings, and tells whether files can have attributes.
const RINGS: &str = "
import os, sys
from swift.common.ring import RingBuilder
folder, ports = sys.argv[1], sys.argv[2:]
probe = os.path.join(folder, 'probe')
open(probe, 'w').close()
try:
    os.setxattr(probe, 'user.swift.probe', b'x')
except OSError:
    sys.exit(3)
for kind, port in zip(('account', 'container', 'object'), ports):
    builder = RingBuilder(2, 1, 1)
    builder.add_dev({'region': 1, 'zone': 1, 'ip': '127.0.0.1', 'port': int(port), 'replication_ip': '127.0.0.1',
                     'replication_port': int(port), 'device': 'disk', 'weight': 1.0, 'meta': ''})
    builder.rebalance()
    builder.get_ring().save(os.path.join(folder, kind + '.ring.gz'))
";

/// What differs from cloud to cloud.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// Segments in one manifest; otherwise as usual.
    pub(crate) manifest_segments: Option<usize>,
    /// Files with a certificate and its key.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    /// Parts of the proxy that are left out.
    pub(crate) without: Vec<&'static str>,
}

/// A running cloud. It ends when dropped.
#[derive(Debug)]
pub(crate) struct Cloud {
    account: Account,
    ports: Vec<u16>,
    children: Vec<Child>,
    programs: PathBuf,
    dir: tempfile::TempDir,
}

impl Deref for Cloud {
    type Target = Account;

    fn deref(&self) -> &Account {
        &self.account
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Cloud {
    /// Starts one; `None`, and a line that says why, where that is not possible.
    pub(crate) fn start(options: &Options) -> Result<Option<Self>> {
        let named = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        let Some(programs) = named.as_deref().and_then(Path::parent).map(Path::to_owned) else {
            eprintln!("skipped: {VARIABLE} is not set");
            return Ok(None);
        };
        if let Some(missing) = PROGRAMS.iter().find(|program| !programs.join(program).is_file()) {
            eprintln!("skipped: {missing} is not installed");
            return Ok(None);
        }
        let dir = tempfile::tempdir()?;
        let ports = PROGRAMS.map(|_| crate::free_local_address().map(|address| address.port()));
        let ports = ports.into_iter().collect::<Result<Vec<u16>>>()?;
        if !make_rings(&programs, dir.path(), &ports)? {
            eprintln!("skipped: files of {} cannot have attributes", dir.path().display());
            return Ok(None);
        }
        std::fs::create_dir_all(dir.path().join("disks/disk"))?;
        write_settings(dir.path(), &ports, options)?;
        let address = SocketAddr::from(([127, 0, 0, 1], ports[4]));
        let account = Account { address, user: USER, password: PASSWORD, path: "/v1/AUTH_test" };
        let mut cloud = Self { account, ports, children: Vec::new(), programs, dir };
        cloud.start_again()?;
        Ok(Some(cloud))
    }

    /// SIGKILL to all.
    pub(crate) fn kill(&mut self) {
        for mut child in self.children.drain(..) {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Starts it again at the same address, with what it has stored.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        for (program, port) in PROGRAMS.iter().zip(&self.ports) {
            let mut command = Command::new(self.programs.join(program));
            if *program == "memcached" {
                command.args(["-l", "127.0.0.1", "-p", &port.to_string(), "-u", &user()?]);
            } else {
                command.arg(self.dir.path().join(format!("{program}.conf")));
            }
            let log = std::fs::File::create(self.dir.path().join(format!("{program}.log")))?;
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
            self.children.push(command.spawn()?);
        }
        let until = Instant::now() + START_MAX;
        for (index, port) in self.ports.iter().enumerate() {
            while TcpStream::connect(("127.0.0.1", *port)).is_err() {
                let program = PROGRAMS[index];
                if self.children[index].try_wait()?.is_some() || Instant::now() > until {
                    let log = std::fs::read_to_string(self.dir.path().join(format!("{program}.log")))?;
                    return Err(Error::other(format!("{program} does not run: {log}")));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    /// Nobody's token is known any more.
    pub(crate) fn forget_tokens(&self) -> Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.ports[0]))?;
        stream.write_all(b"flush_all\r\n")?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).map(drop)
    }
}

/// What is asked of a cloud's address.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// Of the proxy.
    pub(crate) address: SocketAddr,
    pub(crate) user: &'static str,
    pub(crate) password: &'static str,
    /// In the addresses of its containers.
    pub(crate) path: &'static str,
}

impl Account {
    /// Where users sign in.
    pub(crate) fn auth_url(&self) -> String {
        format!("http://{}/auth/v1.0", self.address)
    }

    /// A request of the user, without what a driver adds: status, headers and content. `path` begins after the account.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<(u16, String)> {
        let login = format!("X-Auth-User: {}\r\nX-Auth-Key: {}\r\n", self.user, self.password);
        let answer = self.exchange(&format!("GET /auth/v1.0 HTTP/1.1\r\n{login}"), b"")?.1;
        let token = answer.lines().find_map(|line| line.strip_prefix("X-Auth-Token: ")).unwrap_or_default().to_owned();
        let mut head = format!("{method} {}{path} HTTP/1.1\r\nX-Auth-Token: {token}\r\n", self.path);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        self.exchange(&head, body)
    }

    /// The same of somebody without a token; `head` has the request's line.
    pub(crate) fn exchange(&self, head: &str, body: &[u8]) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let rest = format!("Host: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", self.address, body.len());
        stream.write_all(format!("{head}{rest}").as_bytes())?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.get(9..12).and_then(|status| status.parse().ok());
        Ok((status.ok_or_else(|| Error::other(answer.clone()))?, answer))
    }

    /// The names in a container.
    pub(crate) fn names(&self, container: &str) -> Result<Vec<String>> {
        let (_, answer) = self.request("GET", &format!("/{container}"), &[], b"")?;
        let names = answer.split_once("\r\n\r\n").map(|(_, names)| names.lines().map(str::to_owned).collect());
        Ok(names.unwrap_or_default())
    }
}

fn user() -> Result<String> {
    let output = Command::new("id").arg("-un").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// False: files here cannot have attributes.
fn make_rings(programs: &Path, dir: &Path, ports: &[u16]) -> Result<bool> {
    let first = BufReader::new(std::fs::File::open(programs.join("swift-proxy-server"))?).lines().next();
    let python = first.transpose()?.unwrap_or_default().trim_start_matches("#!").trim().to_owned();
    let mut command = Command::new(python);
    command.args(["-c", RINGS]).arg(dir).args(ports[1..4].iter().map(u16::to_string));
    let output = command.output()?;
    match output.status.code() {
        Some(0) => Ok(true),
        Some(NO_ATTRIBUTES) => Ok(false),
        _ => Err(Error::other(String::from_utf8_lossy(&output.stderr).into_owned())),
    }
}

fn write_settings(dir: &Path, ports: &[u16], options: &Options) -> Result<()> {
    let here = dir.display();
    let common = |port: u16| -> Result<String> {
        Ok(format!(
            "[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {port}\nuser = {}\nswift_dir = {here}\nworkers = 0\n\
             log_level = WARNING\n",
            user()?
        ))
    };
    for (kind, port) in ["account", "container", "object"].into_iter().zip(&ports[1..4]) {
        let text = format!(
            "{}devices = {here}/disks\nmount_check = false\ndisable_fallocate = true\n\
             [pipeline:main]\npipeline = {kind}-server\n[app:{kind}-server]\nuse = egg:swift#{kind}\n{WAITS}",
            common(*port)?
        );
        std::fs::write(dir.join(format!("swift-{kind}-server.conf")), text)?;
    }
    let parts = [
        "catch_errors",
        "gatekeeper",
        "cache",
        "bulk",
        "tempurl",
        "tempauth",
        "copy",
        "container_quotas",
        "slo",
        "dlo",
    ];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !options.without.contains(part)).collect();
    let mut text = common(ports[4])?;
    if let Some((cert, key)) = &options.tls {
        text.push_str(&format!("cert_file = {}\nkey_file = {}\n", cert.display(), key.display()));
    }
    text.push_str(&format!("[pipeline:main]\npipeline = {} proxy-server\n", parts.join(" ")));
    text.push_str(&format!(
        "[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\nallow_account_management = true\n\
         error_suppression_limit = 1000000\n{WAITS}"
    ));
    for part in parts {
        let name = if part == "cache" { "memcache" } else { part };
        let more = match (part, options.manifest_segments) {
            ("cache", _) => format!("memcache_servers = 127.0.0.1:{}\n{CACHE_WAITS}", ports[0]),
            ("slo", Some(limit)) => format!("max_manifest_segments = {limit}\n"),
            ("tempauth", _) => {
                let named = |user: &str| user.replace(':', "_");
                format!("user_{} = {PASSWORD} .admin\nuser_{} = {PASSWORD}\n", named(USER), named(STRANGER))
            }
            _ => String::new(),
        };
        text.push_str(&format!("[filter:{part}]\nuse = egg:swift#{name}\n{more}"));
    }
    std::fs::write(dir.join("swift-proxy-server.conf"), text)
}
