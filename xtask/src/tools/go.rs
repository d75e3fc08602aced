//! Programs that are built from pinned Go modules.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::catalog::{Build, GoProgram};
use crate::command::quietly;
use crate::places;

/// The largest of them takes about five minutes on two busy cores.
const BUILD_LIMIT: Duration = Duration::from_secs(30 * 60);

pub(super) fn build(name: &str, program: &GoProgram) -> Result<()> {
    let Some(go) = places::on_path("go") else {
        bail!("needs Go, which is not on PATH");
    };
    let target = program.path(name).context("no cache folder")?;
    let bin = target.parent().context("no cache folder")?;
    fs::create_dir_all(bin).with_context(|| format!("create {}", bin.display()))?;
    // Built beside the target and renamed: an interrupted build leaves nothing that looks finished.
    let scratch = tempfile::tempdir_in(bin)?;
    let built = match program.build {
        Build::Install => install(&go, program, scratch.path()),
        Build::Require(module) => require(&go, program, module, &["build"], scratch.path()),
        Build::Test(module) => require(&go, program, module, &["test", "-c"], scratch.path()),
    };
    built.map_err(explain)?;
    let file = only_program(scratch.path())?;
    fs::rename(file, &target).with_context(|| format!("install {}", target.display()))
}

fn install(go: &Path, program: &GoProgram, scratch: &Path) -> Result<()> {
    let mut command = command(go);
    command.env("GOBIN", scratch).arg("install");
    command.arg(format!("{}@{}", program.package, program.version));
    quietly(&mut command, BUILD_LIMIT).map(drop)
}

/// Compiles a package of a module that an otherwise empty module requires.
fn require(go: &Path, program: &GoProgram, module: &str, verb: &[&str], scratch: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let run = |args: &[&str]| {
        let mut command = command(go);
        quietly(command.current_dir(folder.path()).args(args), BUILD_LIMIT)
    };
    run(&["mod", "init", "scratch"])?;
    run(&["get", &format!("{module}@{}", program.version)])?;
    if verb.first() == Some(&"test") {
        // What only the tests import.
        run(&["get", "-t", program.package])?;
    }
    let output = scratch.join("program");
    let output = output.to_string_lossy();
    let tail: [&str; 4] = ["-mod=mod", "-o", &output, program.package];
    run(&[verb, &tail].concat()).map(drop)
}

fn command(go: &Path) -> Command {
    let mut command = Command::new(go);
    // No C: the programs must not depend on this machine's libraries. No workspace of the caller's.
    command.env("CGO_ENABLED", "0").env("GOWORK", "off").env_remove("GOBIN");
    command
}

fn only_program(folder: &Path) -> Result<std::path::PathBuf> {
    let entry = fs::read_dir(folder)?.next().context("the build left no program")?;
    Ok(entry?.path())
}

/// Go's own message hides the cause at the end of a long line.
fn explain(error: anyhow::Error) -> anyhow::Error {
    let text = format!("{error:#}");
    if text.contains("403 Forbidden") || text.contains("404 Not Found") || text.contains("410 Gone") {
        return anyhow::anyhow!("the Go module proxy in use does not serve this module and version");
    }
    if text.contains("dial tcp") || text.contains("no such host") {
        return anyhow::anyhow!("the Go module proxy cannot be reached from here");
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_module_is_told_in_one_line() {
        let long = anyhow::anyhow!("go: a@v1: reading somewhere/a/@v/list: 403 Forbidden");
        assert!(explain(long).to_string().contains("does not serve"));
        let other = anyhow::anyhow!("go: compile: out of memory");
        assert_eq!(explain(other).to_string(), "go: compile: out of memory");
    }
}
