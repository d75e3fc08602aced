//! Programs that come from Debian's archive.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command::quietly;
use crate::places;

const INSTALL_LIMIT: Duration = Duration::from_secs(10 * 60);

pub(super) fn install(package: &str) -> Result<()> {
    if places::on_path("apt-get").is_none() {
        bail!("there is no apt-get here; install what Debian calls {package} by hand");
    }
    let mut command = as_root().with_context(|| format!("needs the Debian package {package}"))?;
    command.args(["apt-get", "install", "-y", "-q", "--no-install-recommends"]);
    // Another installation may be running; wait for it instead of failing.
    command.args(["-o", "DPkg::Lock::Timeout=300", package]);
    quietly(&mut command, INSTALL_LIMIT).map(drop)
}

/// `env NAME=VALUE`, as root: directly, or through a sudo that asks nothing.
fn as_root() -> Result<Command> {
    const QUIET: &str = "DEBIAN_FRONTEND=noninteractive";
    if rustix::process::geteuid().is_root() {
        let mut command = Command::new("env");
        command.arg(QUIET);
        return Ok(command);
    }
    let asks_nothing = quietly(Command::new("sudo").args(["-n", "true"]), Duration::from_secs(10)).is_ok();
    if !asks_nothing {
        bail!("not root, and sudo asks for a password");
    }
    let mut command = Command::new("sudo");
    command.args(["-n", "env", QUIET]);
    Ok(command)
}
