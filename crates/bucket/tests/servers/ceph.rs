//! A Ceph cluster in one folder: one monitor, one store that keeps everything in memory, and the gateway that speaks S3 and Swift.

use crate::s3::{ACCESS, SECRET};
use crate::swift::cloud::Account;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Names the program of the gateway; the others are beside it, as Debian's packages put them.
pub(crate) const VARIABLE: &str = "HOMEPORT_TEST_RADOSGW";

const PROGRAMS: [&str; 6] = ["radosgw", "radosgw-admin", "ceph", "ceph-mon", "ceph-osd", "monmaptool"];
const STORE: &str = "5f1c4f6e-2f0a-4c39-9a52-4c63d2a1b001";
const CLUSTER: &str = "5f1c4f6e-2f0a-4c39-9a52-4c63d2a1b000";
const PASSWORD: &str = "a-password-of-16-and-more";
const START_MAX: Duration = Duration::from_secs(180);

/// A running cluster. It ends when dropped.
pub(crate) struct Ceph {
    /// Of the gateway's Swift.
    pub(crate) account: Account,
    children: Vec<Child>,
    programs: PathBuf,
    dir: tempfile::TempDir,
}

impl Drop for Ceph {
    fn drop(&mut self) {
        for mut child in self.children.drain(..) {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Ceph {
    /// The one that tests share while they run at once. A line says why there is none.
    pub(crate) fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Ceph>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let ceph = match shared.upgrade() {
            Some(ceph) => ceph,
            None => Arc::new(Self::start()?),
        };
        *shared = Arc::downgrade(&ceph);
        Some(ceph)
    }

    fn start() -> Option<Self> {
        let named = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        let Some(programs) = named.as_deref().and_then(Path::parent).map(Path::to_owned) else {
            eprintln!("skipped: {VARIABLE} is not set");
            return None;
        };
        if let Some(missing) = PROGRAMS.iter().find(|program| !programs.join(program).is_file()) {
            eprintln!("skipped: {missing} is not installed");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let [monitor, address] = [(); 2].map(|()| crate::free_local_address().unwrap());
        std::fs::write(dir.path().join("ceph.conf"), settings(dir.path(), monitor, address)).unwrap();
        for folder in ["mon", "osd", "run"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let account = Account { address, user: "homeport:swift", password: PASSWORD, path: "/swift/v1" };
        let mut ceph = Self { account, children: Vec::new(), programs, dir };
        ceph.bring_up(monitor);
        Some(ceph)
    }

    fn bring_up(&mut self, monitor: SocketAddr) {
        let map = self.dir.path().join("map").to_string_lossy().into_owned();
        let place = format!("[v2:{monitor}]");
        self.run("monmaptool", &["--create", "--fsid", CLUSTER, "--addv", "a", &place, &map]);
        self.run("ceph-mon", &["-i", "a", "--mkfs", "--monmap", &map]);
        self.go_on("ceph-mon", &["-i", "a", "-f"]);
        self.run("ceph", &["--connect-timeout", "60", "osd", "new", STORE]);
        self.run("ceph-osd", &["-i", "0", "--mkfs", "--osd-uuid", STORE]);
        self.go_on("ceph-osd", &["-i", "0", "-f"]);
        self.go_on("radosgw", &["-n", "client.rgw", "-f"]);
        let until = Instant::now() + START_MAX;
        while TcpStream::connect(self.account.address).is_err() {
            for child in &mut self.children {
                assert!(child.try_wait().unwrap().is_none(), "a program of Ceph has ended");
            }
            assert!(Instant::now() < until, "radosgw does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        let keys = ["--access-key", ACCESS, "--secret", SECRET];
        let user = ["user", "create", "--uid", "homeport", "--display-name", "homeport"];
        self.run("radosgw-admin", &[&user[..], &keys[..]].concat());
        let sub = ["subuser", "create", "--uid", "homeport", "--subuser", self.account.user, "--access", "full"];
        self.run("radosgw-admin", &[&sub[..], &["--key-type", "swift", "--secret", PASSWORD]].concat());
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.arg("-c").arg(self.dir.path().join("ceph.conf")).args(arguments).stdin(Stdio::null());
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let output = self.command(program, arguments).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn go_on(&mut self, program: &str, arguments: &[&str]) {
        let mut command = self.command(program, arguments);
        self.children.push(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    }
}

/// Nobody has keys, and what is decided is told at once: both are for nobody but this machine.
fn settings(dir: &Path, monitor: SocketAddr, gateway: SocketAddr) -> String {
    let dir = dir.display();
    format!(
        "[global]
fsid = {CLUSTER}
mon host = v2:{monitor}/0
mon initial members = a
public addr = 127.0.0.1
ms bind msgr1 = false
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc secure
paxos propose interval = 0.05
paxos min wait = 0.01
run dir = {dir}/run
admin socket = {dir}/run/$name.$pid.asok
log file = {dir}/$name.log
crash dir = {dir}/run
mon data = {dir}/mon
mon data avail crit = 1
mon allow pool size one = true
osd data = {dir}/osd
osd objectstore = memstore
memstore device bytes = 4294967296
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
rgw frontends = beast endpoint={gateway}
"
    )
}
