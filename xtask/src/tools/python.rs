//! Programs that come from Python packages, each in a virtual environment.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::catalog::PythonProgram;
use crate::command::quietly;
use crate::places;

const INSTALL_LIMIT: Duration = Duration::from_secs(15 * 60);

pub(super) fn install(name: &str, program: &PythonProgram) -> Result<()> {
    let Some(python) = places::on_path("python3") else {
        bail!("needs Python, and there is no python3 on PATH");
    };
    let folder = places::cache()?.join("python").join(format!("{name}-{}", program.version));
    // An environment cannot be moved, so the link to it, made last, says that it is complete.
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    quietly(Command::new(python).args(["-m", "venv"]).arg(&folder), INSTALL_LIMIT).map_err(explain)?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--no-input"]);
    pip.arg(format!("{}=={}", program.package, program.version));
    quietly(&mut pip, INSTALL_LIMIT).map_err(explain)?;
    link(&folder.join("bin").join(program.program), &program.path(name).context("no cache folder")?)
}

fn link(program: &Path, at: &Path) -> Result<()> {
    if !program.is_file() {
        bail!("the package brings no program {}", program.display());
    }
    let bin = at.parent().context("no cache folder")?;
    fs::create_dir_all(bin).with_context(|| format!("create {}", bin.display()))?;
    if at.symlink_metadata().is_ok() {
        fs::remove_file(at).with_context(|| format!("remove {}", at.display()))?;
    }
    symlink(program, at).with_context(|| format!("link {}", at.display()))
}

/// Python's own messages are long.
fn explain(error: anyhow::Error) -> anyhow::Error {
    let text = format!("{error:#}");
    if text.contains("ensurepip") || text.contains("No module named venv") {
        return anyhow::anyhow!("this Python makes no environments; Debian's package python3-venv adds that");
    }
    if text.contains("No matching distribution") {
        return anyhow::anyhow!("the Python package index in use cannot be reached, or does not serve this version");
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_causes_are_told_in_one_line() {
        let said = |text: &'static str| explain(anyhow::anyhow!(text)).to_string();
        assert!(
            said("python3: The virtual environment was not created successfully because ensurepip").contains("venv")
        );
        assert!(said("python: ERROR: No matching distribution found for moto==5.2.5").contains("index"));
        assert_eq!(said("python: no space left on device"), "python: no space left on device");
    }

    #[test]
    fn a_link_takes_the_place_of_a_broken_one() {
        let folder = tempfile::tempdir().unwrap();
        let (program, at) = (folder.path().join("program"), folder.path().join("bin/program-1"));
        assert!(link(&program, &at).is_err());
        fs::write(&program, "").unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        symlink("nowhere", &at).unwrap();
        link(&program, &at).unwrap();
        assert!(at.is_file());
    }
}
