//! Programs that come from packages of Node, each in a folder of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::apt;
use super::catalog::NodeProgram;
use crate::command::quietly;
use crate::places;

/// Hundreds of small packages.
const INSTALL_LIMIT: Duration = Duration::from_secs(20 * 60);

pub(super) fn install(name: &str, program: &NodeProgram) -> Result<()> {
    for (needed, package) in [("node", "nodejs"), ("npm", "npm")] {
        if places::on_path(needed).is_none() {
            apt::install(package)?;
        }
    }
    let npm = places::on_path("npm").context("needs npm, which is not on PATH")?;
    let folder = places::cache()?.join("node").join(format!("{name}-{}", program.version));
    // What an interrupted run left; the link, made last, says that all is there.
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let mut command = Command::new(npm);
    command.args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"]).arg(&folder);
    // Scripts of packages are not needed, and would run as whoever installs.
    command.arg("--ignore-scripts").arg(format!("{}@{}", program.package, program.version));
    quietly(&mut command, INSTALL_LIMIT).map_err(explain)?;
    let file = folder.join("node_modules/.bin").join(program.program);
    if !file.is_file() {
        bail!("the package brings no program {}", file.display());
    }
    let at = program.path(name).context("no cache folder")?;
    fs::create_dir_all(at.parent().context("no cache folder")?)?;
    if at.symlink_metadata().is_ok() {
        fs::remove_file(&at).with_context(|| format!("remove {}", at.display()))?;
    }
    symlink(file, &at).with_context(|| format!("link {}", at.display()))
}

/// npm's own messages are long.
fn explain(error: anyhow::Error) -> anyhow::Error {
    let text = format!("{error:#}");
    if text.contains("ETARGET") || text.contains("E404") || text.contains("ENOTFOUND") {
        return anyhow::anyhow!("the npm registry in use cannot be reached, or does not serve this version");
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_causes_are_told_in_one_line() {
        let said = |text: &'static str| explain(anyhow::anyhow!(text)).to_string();
        assert!(said("npm error code ETARGET\nnpm error notarget No matching version").contains("registry"));
        assert_eq!(said("npm error no space left on device"), "npm error no space left on device");
    }
}
