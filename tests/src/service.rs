//! A program that listens, for as long as a test needs it.

use anyhow::{Context, Result, ensure};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Most start in a second, and take much longer on a busy machine.
const START_MAX: Duration = Duration::from_secs(180);

/// The program; killed when dropped.
pub(crate) struct Service {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Service {
    /// The program that `variable` names, or else the tool of this name.
    pub(crate) fn program(variable: &str, tool: &str) -> Option<PathBuf> {
        let named = std::env::var_os(variable).filter(|value| !value.is_empty());
        named.map(PathBuf::from).or_else(|| crate::tool(tool))
    }

    /// Starts a program that listens at this address, and waits until it does.
    pub(crate) fn start(mut command: Command, address: SocketAddr) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let name = command.get_program().to_string_lossy().into_owned();
        let mut service = Self { child: command.spawn().with_context(|| name.clone())?, address };
        let until = Instant::now() + START_MAX;
        while TcpStream::connect(address).is_err() {
            ensure!(service.child.try_wait()?.is_none(), "{name} has ended");
            ensure!(Instant::now() < until, "{name} does not answer");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(service)
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Scheme and host.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.kill());
    }
}
