//! A cluster that one process has for itself.

use std::fs::{self, File};
use std::ops::Deref;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use super::Cluster;

/// A cluster that is ours alone. It goes down with this value, also when this process is killed.
pub struct Taken {
    cluster: Cluster,
    mourner: Child,
    // The mourner has it as well.
    _lock: File,
}

impl Deref for Taken {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Err(error) = self.cluster.down() {
            eprintln!("xtask: cluster: {error:#}");
        }
        // Nothing is left for it to do. It may be gone already.
        let _ = self.mourner.kill();
        let _ = self.mourner.wait();
    }
}

impl Cluster {
    /// Makes it ours alone; waits while another one has it, or still takes it down.
    ///
    /// # Errors
    /// There can be no lock, or no process that outlives us.
    pub fn take(self) -> Result<Taken> {
        fs::create_dir_all(&self.cache)?;
        let path = self.cache.join(format!("taken-{}.lock", self.name));
        let lock = File::create(&path).with_context(|| path.display().to_string())?;
        if lock.try_lock().is_err() {
            eprintln!("waiting for the cluster {}: it is taken", self.name);
            lock.lock().with_context(|| path.display().to_string())?;
        }
        let mourner = self.mourner(lock.try_clone()?)?;
        Ok(Taken { cluster: self, mourner, _lock: lock })
    }

    /// A process that ends the cluster when we are gone without having done so, by Ctrl-C for example. It has the lock until
    /// then, so that it never ends what the next one brings up. Killing it lets the cluster live.
    fn mourner(&self, lock: File) -> Result<Child> {
        let mut command = self.command("down");
        let down = command.get_program().to_owned();
        let variables: Vec<_> =
            command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
        // In a session of its own, out of reach of the terminal's signals.
        command = Command::new("setsid");
        command.args(["sh", "-c", "cat >/dev/null; \"$0\" >/dev/null"]).arg(down).envs(variables);
        command.stdin(Stdio::piped()).stdout(lock).stderr(Stdio::null());
        command.spawn().context("start setsid")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn taken(folder: &Path) -> Taken {
        let cluster = Cluster {
            name: "unit-test".to_owned(),
            net: "10.254".to_owned(),
            folder: folder.join("files"),
            cache: folder.join("cache"),
        };
        cluster.take().unwrap()
    }

    #[test]
    fn a_cluster_is_taken_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = taken(folder.path());
        let lock = folder.path().join("cache/taken-unit-test.lock");
        assert!(File::open(lock).unwrap().try_lock().is_err());
        drop(first);
        drop(taken(folder.path()));
    }

    #[test]
    fn what_a_killed_process_leaves_behind_is_removed_before_the_next_one_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = taken(folder.path());
        fs::create_dir(first.folder()).unwrap();
        fs::write(first.folder().join(".test-cluster"), "").unwrap();
        let files = first.folder().to_owned();
        // The end of a process closes its files and drops nothing.
        drop(first.mourner.stdin.take());
        first._lock = File::open("/dev/null").unwrap();
        std::mem::forget(first);
        let _second = taken(folder.path());
        assert!(!files.exists());
    }
}
