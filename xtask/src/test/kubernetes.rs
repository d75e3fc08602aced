//! The cluster and the image for one run of the tests.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use anyhow::{Result, anyhow};

use crate::cluster::{Cluster, Extent, Taken, obstacle};
use crate::{image, places};

/// Names the cluster for the tests; without it they say what they do not test.
const KUBECONFIG: &str = "HOMEPORT_TEST_KUBECONFIG";
/// Names the image for the tests, a tar archive.
const IMAGE: &str = "HOMEPORT_TEST_IMAGE";

/// A cluster on its way, while the build keeps one processor busy anyway.
pub(super) struct Coming(Option<JoinHandle<Result<Session>>>);

/// A cluster that the tests may use; goes down with this value when it came up for it.
pub(super) struct Session {
    kubeconfig: PathBuf,
    /// Goes down at the end, and only this one.
    _ours: Option<Taken>,
}

impl Coming {
    /// Begins to bring a cluster up where this machine can, and says where it cannot.
    pub(super) fn start(wanted: bool) -> Self {
        let why = match wanted {
            true => obstacle(Extent::ControlPlane).filter(|_| named().is_none()),
            false => Some("not wanted".to_owned()),
        };
        if let Some(why) = why {
            println!("cluster: left out, and all tests that need one: {why}");
            return Self(None);
        }
        Self(Some(thread::spawn(bring_up)))
    }

    /// Waits for it. `Ok(None)` where it was left out.
    pub(super) fn wait(self) -> Result<Option<Session>> {
        let Some(thread) = self.0 else { return Ok(None) };
        thread.join().map_err(|_| anyhow!("its thread ended"))?.map(Some)
    }
}

fn named() -> Option<PathBuf> {
    env::var_os(KUBECONFIG).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn bring_up() -> Result<Session> {
    if let Some(kubeconfig) = named() {
        return Ok(Session { kubeconfig, _ours: None });
    }
    let cluster = Cluster::from_env()?;
    let kubeconfig = cluster.kubeconfig();
    if cluster.is_up() {
        // Somebody is working with it.
        return Ok(Session { kubeconfig, _ours: None });
    }
    let extent = match obstacle(Extent::Node) {
        None => Extent::Node,
        Some(why) => {
            println!("cluster: left out what needs pods: {why}");
            Extent::ControlPlane
        }
    };
    let ours = cluster.take()?;
    ours.up(extent)?;
    Ok(Session { kubeconfig, _ours: Some(ours) })
}

impl Session {
    /// What the tests are told.
    pub(super) fn environment(&self) -> Vec<(&'static str, OsString)> {
        let mut variables = vec![(KUBECONFIG, self.kubeconfig.clone().into_os_string())];
        let image = image_path();
        if env::var_os(IMAGE).is_none() && image.is_file() {
            variables.push((IMAGE, image.into_os_string()));
        }
        variables
    }
}

fn image_path() -> PathBuf {
    places::target().join("image/test.tar")
}

/// Makes the image that the tests run in a pod, of the same profile as the tests.
pub(super) fn make_image() -> Result<bool> {
    println!("cargo xtask image --profile dev");
    image::build("dev", &image_path()).map(|_| true)
}
