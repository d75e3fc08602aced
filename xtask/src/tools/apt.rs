//! Programs that come from Debian's archive.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command::quietly;
use crate::places;

const INSTALL_LIMIT: Duration = Duration::from_secs(10 * 60);
const FILE_LIMIT: Duration = Duration::from_secs(30);

pub(super) fn install(package: &str) -> Result<()> {
    if places::on_path("apt-get").is_none() {
        bail!("there is no apt-get here; install what Debian calls {package} by hand");
    }
    let mut command = as_root().with_context(|| format!("needs the Debian package {package}"))?;
    command.args(["apt-get", "install", "-y", "-q", "--no-install-recommends"]);
    // Another installation may be running; wait for it instead of failing.
    command.args(["-o", "DPkg::Lock::Timeout=300", package]);
    let policy = NoServices::set()?;
    let installed = quietly(&mut command, INSTALL_LIMIT).map(drop);
    let taken_back = policy.take_back();
    // Why the installation failed comes first.
    installed.and(taken_back)
}

/// Debian asks this file whether a package may start its services; 101 says no.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// What tells that we made it: a run that is killed leaves it behind, and the next one removes it.
const MARK: &str = "# from cargo xtask tools";

/// Packages bring programs for the tests, and no services for the machine.
struct NoServices(bool);

impl NoServices {
    /// A policy that somebody else made stays as it is.
    fn set() -> Result<Self> {
        if Path::new(POLICY).exists() && !std::fs::read_to_string(POLICY).is_ok_and(|text| is_ours(&text)) {
            return Ok(Self(false));
        }
        let text = format!("printf '#!/bin/sh\\n{MARK}\\nexit 101\\n' > {POLICY} && chmod 755 {POLICY}");
        quietly(as_root()?.args(["sh", "-c", &text]), FILE_LIMIT).map(|_| Self(true))
    }

    fn take_back(self) -> Result<()> {
        if !self.0 {
            return Ok(());
        }
        quietly(as_root()?.args(["rm", "-f", POLICY]), FILE_LIMIT).map(drop)
    }
}

fn is_ours(text: &str) -> bool {
    text.lines().any(|line| line == MARK)
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
