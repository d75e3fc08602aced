//! `cargo xtask cluster`: a real Kubernetes cluster on this machine, made by the commands in `xtask/cluster`.

mod obstacle;
mod taken;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::command::{quietly, succeeds};
use crate::places;

pub use obstacle::obstacle;
pub use taken::Taken;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Bring the cluster up and print the path of its kubeconfig; what is up already is left alone
    Up {
        /// The control plane only, which runs no pods
        #[arg(long, visible_alias = "control-plane")]
        no_node: bool,
        /// Only install and build what it needs
        #[arg(long)]
        install: bool,
    },
    /// Stop the cluster and remove its files
    Down {
        /// Leave logs and data
        #[arg(long)]
        keep: bool,
    },
    /// Tell whether it is up and what this machine can run
    Status,
    /// Print the path of its kubeconfig; fails when it is not up
    Kubeconfig,
}

pub fn run(args: &Args) -> Result<bool> {
    let cluster = Cluster::from_env()?;
    match args.verb {
        Verb::Up { no_node, install } => {
            let extent = if no_node { Extent::ControlPlane } else { Extent::Node };
            if let Some(obstacle) = obstacle(extent) {
                bail!("{extent} cannot run here: {obstacle}");
            }
            if install {
                return succeeds(cluster.command("up").args(extent.flags()).arg("--install"));
            }
            println!("{}", cluster.up(extent)?.display());
        }
        Verb::Down { keep } => return succeeds(cluster.command("down").args(keep.then_some("--keep"))),
        Verb::Status => cluster.print_status(),
        Verb::Kubeconfig => {
            ensure!(cluster.is_up(), "the cluster is not up; `cargo xtask cluster up` brings it up");
            println!("{}", cluster.kubeconfig().display());
        }
    }
    Ok(true)
}

/// How much of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// etcd, API server, controllers.
    ControlPlane,
    /// These, and a node that runs pods.
    Node,
}

impl Extent {
    fn flags(self) -> Option<&'static str> {
        (self == Self::ControlPlane).then_some("--no-node")
    }
}

impl std::fmt::Display for Extent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ControlPlane => "the control plane of a cluster",
            Self::Node => "a cluster with pods",
        })
    }
}

/// One cluster, up or not.
#[derive(Clone, Debug)]
pub struct Cluster {
    name: String,
    net: String,
    folder: PathBuf,
    cache: PathBuf,
}

impl Cluster {
    /// The one that the environment names, else the usual one. The settings are those of `xtask/cluster/README.md`.
    ///
    /// # Errors
    /// There is no cache folder.
    pub fn from_env() -> Result<Self> {
        let var = |name| env::var(name).ok().filter(|value: &String| !value.is_empty());
        let name = var("CLUSTER_NAME").unwrap_or_else(|| "homeport".to_owned());
        let mut cluster = Self::aside(&name, &var("CLUSTER_NET").unwrap_or_else(|| "10.77".to_owned()))?;
        if let Some(folder) = var("CLUSTER_DIR") {
            cluster.folder = folder.into();
        }
        Ok(cluster)
    }

    /// One beside the usual one. `net` is the first two octets of its addresses.
    ///
    /// # Errors
    /// There is no cache folder.
    pub fn aside(name: &str, net: &str) -> Result<Self> {
        let cache = env::var_os("CLUSTER_CACHE").filter(|value| !value.is_empty()).map(PathBuf::from);
        Ok(Self {
            name: name.to_owned(),
            net: net.to_owned(),
            folder: PathBuf::from(format!("/var/tmp/cluster-{name}")),
            cache: cache.map_or_else(|| places::cache().map(|cache| cache.join("kubernetes")), Ok)?,
        })
    }

    /// A command of `xtask/cluster` for this cluster.
    #[must_use]
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(places::workspace().join("xtask/cluster").join(name));
        command.env("CLUSTER_NAME", &self.name).env("CLUSTER_NET", &self.net);
        command.env("CLUSTER_DIR", &self.folder).env("CLUSTER_CACHE", &self.cache);
        command
    }

    /// Brings it up; the path of an administrator's kubeconfig. Its progress goes to standard error.
    ///
    /// # Errors
    /// It does not come up.
    pub fn up(&self, extent: Extent) -> Result<PathBuf> {
        let mut command = self.command("up");
        let output = command.args(extent.flags()).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
        ensure!(output.status.success(), "the cluster does not come up ({})", output.status);
        Ok(self.kubeconfig())
    }

    /// Ends it and removes its files.
    ///
    /// # Errors
    /// It does not end.
    pub fn down(&self) -> Result<()> {
        quietly(&mut self.command("down"), Duration::from_secs(120)).map(drop)
    }

    /// Whether its API answers.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.get("/readyz").is_ok()
    }

    /// Whether it was brought up with a node: it runs pods while it is up.
    #[must_use]
    pub fn has_node(&self) -> bool {
        self.folder.join("up-node").is_file()
    }

    /// The administrator's kubeconfig, there while it is up.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// All its files: programs, configuration, logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// This machine's address, as the cluster's node and pods see it.
    #[must_use]
    pub fn host_address(&self) -> String {
        format!("{}.0.1", self.net)
    }

    /// The node's address, where the API server is.
    #[must_use]
    pub fn node_address(&self) -> String {
        format!("{}.0.2", self.net)
    }

    fn get(&self, path: &str) -> Result<String> {
        let config = self.kubeconfig();
        ensure!(config.is_file(), "no {}", config.display());
        let mut command = Command::new(self.folder.join("bin/kubectl"));
        command.arg("--kubeconfig").arg(config).args(["--request-timeout=5s", "get", "--raw", path]);
        quietly(&mut command, Duration::from_secs(10)).context("ask the API server")
    }

    fn print_status(&self) {
        let state = match (self.is_up(), self.has_node()) {
            (true, true) => "up, runs pods",
            (true, false) => "up, control plane only",
            (false, _) => "not up",
        };
        println!("{}: {state} ({})", self.name, self.folder.display());
        for extent in [Extent::ControlPlane, Extent::Node] {
            match obstacle(extent) {
                None => println!("{extent} can run here"),
                Some(obstacle) => println!("{extent} cannot run here: {obstacle}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The commands can be run by hand and must then mean the same cluster.
    #[test]
    fn defaults_are_those_of_the_commands() {
        let lib = places::workspace().join("xtask/cluster/lib.sh");
        let shown = "source \"$0\"; echo \"$CLUSTER_NAME $CLUSTER_NET $CLUSTER_DIR $CLUSTER_CACHE $HOST_IP $NODE_IP $KUBECONFIG_OUT\"";
        let said = quietly(Command::new("bash").args(["-c", shown]).arg(lib), Duration::from_secs(10)).unwrap();
        let cluster = Cluster::from_env().unwrap();
        let ours = format!(
            "{} {} {} {} {} {} {}",
            cluster.name,
            cluster.net,
            cluster.folder().display(),
            cluster.cache.display(),
            cluster.host_address(),
            cluster.node_address(),
            cluster.kubeconfig().display()
        );
        assert_eq!(said.trim(), ours);
    }
}
