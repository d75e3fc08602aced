//! What a machine lacks for a cluster.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::{Cluster, Extent};
use crate::command::quietly;

/// Why this machine cannot run so much; `None` when nothing speaks against it.
#[must_use]
pub fn obstacle(extent: Extent) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root".to_owned());
    }
    let namespaces = ["--fork", "--pid", "--mount-proc", "--mount", "--net", "--uts", "--ipc", "true"];
    if let Err(error) = quietly(Command::new("unshare").args(namespaces), Duration::from_secs(10)) {
        return Some(format!("no namespaces of its own: {error:#}"));
    }
    let hierarchies = ["memory", "cpu", "cpuset", "pids"];
    if extent == Extent::Node && hierarchies.iter().any(|name| !Path::new("/sys/fs/cgroup").join(name).is_dir()) {
        return Some("pods need cgroup version 1".to_owned());
    }
    let said = Cluster::from_env().and_then(|cluster| missing(cluster.command("up"), extent));
    said.unwrap_or_else(|error| Some(format!("{error:#}")))
}

/// What programs are missing here that cannot be installed or built, as the command `up` sees it.
fn missing(mut up: Command, extent: Extent) -> Result<Option<String>> {
    let said = quietly(up.args(extent.flags()).arg("--check"), Duration::from_secs(30))?;
    Ok(Some(said.trim().to_owned()).filter(|said| !said.is_empty()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::places;

    /// What the commands use to look around.
    const USED: [&str; 8] = ["awk", "bash", "cat", "cut", "dirname", "head", "readlink", "sha256sum"];

    /// A command that sees no other programs than these, and those of Kubernetes in a folder.
    fn bare(folder: &Path, programs: &[&str], assets: &[&str]) -> Command {
        let (path, built) = (folder.join("path"), folder.join("assets"));
        for (folder, names) in [(&path, programs), (&built, assets)] {
            let _ = fs::remove_dir_all(folder);
            fs::create_dir(folder).unwrap();
            for name in names {
                let target = places::on_path(name).unwrap_or_else(|| places::on_path("true").unwrap());
                std::os::unix::fs::symlink(target, folder.join(name)).unwrap();
            }
        }
        let mut command = Command::new(places::on_path("bash").unwrap());
        command.arg(places::workspace().join("xtask/cluster/up")).env("PATH", path);
        command.env("KUBEBUILDER_ASSETS", built).env("CLUSTER_CACHE", folder.join("cache"));
        command
    }

    #[test]
    fn a_machine_that_lacks_something_is_told_what() {
        if !rustix::process::geteuid().is_root() {
            // What is checked first, and all that can be checked.
            assert_eq!(obstacle(Extent::ControlPlane).unwrap(), "needs root");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let control = [&USED[..], &["ip", "nsenter", "ps", "openssl", "curl"]].concat();
        let envtest = ["etcd", "kube-apiserver", "kubectl"];
        let check = |programs: &[&str], assets: &[&str], extent| {
            missing(bare(folder.path(), programs, assets), extent).unwrap().unwrap_or_default()
        };
        let complete = [&envtest[..], &["kube-controller-manager"]].concat();
        assert_eq!(check(&control, &complete, Extent::ControlPlane), "");
        let said = check(&control, &envtest, Extent::ControlPlane);
        assert!(said.starts_with("needs kube-controller-manager in KUBEBUILDER_ASSETS"), "{said}");
        let with_go = [&control[..], &["go"]].concat();
        assert_eq!(check(&with_go, &envtest, Extent::ControlPlane), "");
        let said = check(&control, &complete, Extent::Node);
        assert!(said.starts_with("needs containerd runc") && said.contains("no apt-get"), "{said}");
        let said = check(&control[..control.len() - 1], &complete, Extent::ControlPlane);
        assert_eq!(said, "needs curl, and there is no apt-get to install curl");
        assert!(!folder.path().join("cache").exists(), "a look changes nothing");
    }
}
