//! One server process.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::port::free_local_address;
use crate::load::{Client, stopped};

const READY_LIMIT: Duration = Duration::from_secs(60);
/// After this an end is no longer asked for but enforced.
const END_LIMIT: Duration = Duration::from_secs(10);

/// How to start a server.
#[derive(Clone)]
pub struct Launch {
    pub program: PathBuf,
    pub args: Vec<OsString>,
    pub port: u16,
    pub log: PathBuf,
}

/// A running server; dropping it ends it.
pub struct Server {
    child: Child,
    pub port: u16,
    /// From the start of the process to the first answer.
    pub started_in: Duration,
}

/// A port that nobody listens on right now.
pub fn free_port() -> Result<u16> {
    Ok(free_local_address().context("find a free port")?.port())
}

impl Server {
    /// Starts the server and waits until it answers.
    pub fn start(launch: &Launch) -> Result<Self> {
        // 401 is an answer too, of a server that wants a password.
        Self::start_when(launch, |status| matches!(status, 200 | 401))
    }

    /// The same of a server that is ready when it answers with such a status.
    pub fn start_when(launch: &Launch, ready: impl Fn(u16) -> bool) -> Result<Self> {
        let log = File::create(&launch.log).with_context(|| format!("create {}", launch.log.display()))?;
        let begun = Instant::now();
        let child = Command::new(std::env::current_exe()?)
            .args(["guard", "--parent", &std::process::id().to_string(), "--"])
            .arg(&launch.program)
            .args(&launch.args)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", launch.program.display()))?;
        let mut server = Self { child, port: launch.port, started_in: Duration::ZERO };
        server.wait_until_ready(begun, launch, ready)?;
        Ok(server)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_ready(&mut self, begun: Instant, launch: &Launch, ready: impl Fn(u16) -> bool) -> Result<()> {
        let name = launch.program.file_name().unwrap_or_default().display();
        loop {
            if let Ok(reply) = Client::new(self.port).get("/v2/", "")
                && ready(reply.status)
            {
                self.started_in = begun.elapsed();
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{name} ended at its start ({status}): {}", log_end(&launch.log));
            }
            if begun.elapsed() > READY_LIMIT || stopped() {
                bail!("{name} does not answer: {}", log_end(&launch.log));
            }
            // Short, since the time to the first answer is one of the figures.
            thread::sleep(Duration::from_micros(500));
        }
    }

    /// Asks the process to end, and makes it end when it does not.
    fn end(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // Fails only when the process is gone, which is what is wanted.
            let _ = kill_process(pid, Signal::TERM);
        }
        let asked = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if asked.elapsed() > END_LIMIT {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

fn log_end(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let end = lines[lines.len().saturating_sub(3)..].join("; ");
    if end.is_empty() { "it said nothing".to_owned() } else { end }
}
