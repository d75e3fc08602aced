//! What must not outlive the tests, however they end.

use crate::kube::Kube;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A process that runs a shell script when this process is gone, killed or not.
pub struct Mourner {
    /// Its input is open as long as we live, and nobody else has the other end.
    _child: Child,
    folder: PathBuf,
}

impl Mourner {
    /// Begins to wait.
    ///
    /// # Errors
    /// It does not start.
    pub fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("mourner-").tempdir()?.keep();
        let script = folder.join("script");
        std::fs::write(&script, "")?;
        // In a session of its own, out of reach of the terminal's signals.
        let mut command = Command::new("setsid");
        command.args(["sh", "-c", "cat >/dev/null; sh \"$0\"; rm -rf \"$1\""]).arg(script).arg(&folder);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Ok(Self { _child: child.context("start setsid")?, folder })
    }

    /// A folder that goes away at the end.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Sets what is to be done, in place of what was to be done before.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn shall(&self, script: &str) -> Result<()> {
        // In one step: the end may come at any moment.
        let new = self.folder.join("new");
        std::fs::write(&new, script)?;
        Ok(std::fs::rename(new, self.folder.join("script"))?)
    }

    /// The line of a script that deletes objects.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn deleting(&self, kube: &Kube, documents: &str) -> Result<String> {
        let file = self.folder.join("objects.yaml");
        std::fs::write(&file, documents)?;
        let mut line = format!("KUBECONFIG='{}'", kube.kubeconfig().display());
        let command = kube.command("delete --ignore-not-found --wait=false -f");
        for word in std::iter::once(command.get_program()).chain(command.get_args()).chain([file.as_os_str()]) {
            line.push_str(&format!(" '{}'", word.display()));
        }
        line.push('\n');
        Ok(line)
    }
}
