//! The servers that are compared: how each is configured and started.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;

use super::store::{self, Content};
use crate::server::{Launch, Server, free_port};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Kind {
    Homeport,
    Distribution,
    Zot,
    Nginx,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Homeport => "homeport",
            Self::Distribution => "dist3",
            Self::Zot => "zot",
            Self::Nginx => "nginx",
        }
    }

    pub(super) fn is_registry(self) -> bool {
        self != Self::Nginx
    }
}

/// A server to compare, with its own copy of the store.
pub(super) struct Peer {
    pub(super) kind: Kind,
    pub(super) root: PathBuf,
    launch: Launch,
    pub(super) server: Option<Server>,
}

impl Peer {
    /// Writes the store and the configuration into `folder`.
    pub(super) fn prepare(kind: Kind, program: &Path, folder: &Path, content: &Content) -> Result<Self> {
        let peer = Self::empty(kind, program, folder, "")?;
        match kind {
            Kind::Homeport | Kind::Distribution => store::write_distribution(&peer.root, content)?,
            Kind::Zot => store::write_zot(&peer.root, content)?,
            Kind::Nginx => store::write_files(&peer.root, content)?,
        }
        Ok(peer)
    }

    /// The same with an empty store. `auth` is a section of distribution's configuration.
    pub(super) fn empty(kind: Kind, program: &Path, folder: &Path, auth: &str) -> Result<Self> {
        let root = folder.join("store");
        fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
        let port = free_port()?;
        let config = folder.join("config");
        let text = match kind {
            Kind::Homeport | Kind::Distribution => distribution_config(&root, port, auth),
            Kind::Zot => zot_config(&root, port),
            Kind::Nginx => nginx_config(folder, &root, port),
        };
        fs::write(&config, text).with_context(|| format!("write {}", config.display()))?;
        let args = match kind {
            Kind::Homeport | Kind::Distribution | Kind::Zot => vec![OsString::from("serve"), config.into()],
            Kind::Nginx => nginx_args(folder, config),
        };
        let launch = Launch { program: program.to_owned(), args, port, log: folder.join("log") };
        Ok(Self { kind, root, launch, server: None })
    }

    /// The same with its content elsewhere: `storage` are keys of that section, and `root` is where blobs are files.
    pub(super) fn on(kind: Kind, program: &Path, folder: &Path, root: PathBuf, storage: &str) -> Result<Self> {
        let (port, config) = (free_port()?, folder.join("config"));
        let text = registry_config(storage, port, "  secret: the secret of the benchmarks\n");
        fs::write(&config, text).with_context(|| format!("write {}", config.display()))?;
        let args = vec![OsString::from("serve"), config.into()];
        let launch = Launch { program: program.to_owned(), args, port, log: folder.join("log") };
        Ok(Self { kind, root, launch, server: None })
    }

    /// The running server; started when it is not.
    pub(super) fn running(&mut self) -> Result<&Server> {
        let server = match self.server.take() {
            Some(server) => server,
            None => Server::start(&self.launch)?,
        };
        Ok(self.server.insert(server))
    }

    pub(super) fn restart(&mut self) -> Result<&Server> {
        self.server = None;
        self.running()
    }

    /// Removes the bytes of pushed blobs, so that many rounds fit on the disk.
    pub(super) fn discard(&self, repository: &str, digests: &[String]) {
        for digest in digests {
            // What cannot be removed only takes room until the end of the run.
            let _ = match self.kind {
                Kind::Zot => {
                    let hex = digest.trim_start_matches("sha256:");
                    fs::remove_file(self.root.join(repository).join("blobs/sha256").join(hex))
                }
                _ => fs::remove_dir_all(store::blob_folder(&self.root, digest)),
            };
        }
    }
}

/// The figures of the peers are for this configuration: no cache, errors only, durable as by default.
fn distribution_config(root: &Path, port: u16, auth: &str) -> String {
    registry_config(&format!("  filesystem:\n    rootdirectory: {}\n", root.display()), port, auth)
}

fn registry_config(storage: &str, port: u16, more: &str) -> String {
    format!(
        "version: 0.1\n\
         log:\n  level: error\n  accesslog:\n    disabled: true\n\
         storage:\n{storage}  delete:\n    enabled: true\n\
         http:\n  addr: 127.0.0.1:{port}\n{more}"
    )
}

fn zot_config(root: &Path, port: u16) -> String {
    json!({
        "distSpecVersion": "1.1.1",
        "storage": { "rootDirectory": root, "gc": false, "dedupe": true },
        "http": { "address": "127.0.0.1", "port": port.to_string() },
        "log": { "level": "error" },
    })
    .to_string()
}

fn nginx_config(folder: &Path, root: &Path, port: u16) -> String {
    // The workers of a server that root starts must be able to read root's files.
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let folder = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("  {name}_temp_path {folder}/{name};\n"))
        .concat();
    format!(
        "{user}daemon off;\nworker_processes 2;\npid {folder}/pid;\nerror_log {folder}/log crit;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n  access_log off;\n  sendfile on;\n  tcp_nopush on;\n  tcp_nodelay on;\n\
         \x20 keepalive_timeout 600;\n  keepalive_requests 1000000000;\n\
         \x20 default_type application/octet-stream;\n{temporary}\
         \x20 server {{\n    listen 127.0.0.1:{port};\n    root {};\n\
         \x20   location = /v2/ {{ return 200 \"{{}}\"; }}\n  }}\n}}\n",
        root.display()
    )
}

fn nginx_args(folder: &Path, config: PathBuf) -> Vec<OsString> {
    let log = folder.join("log");
    vec!["-e".into(), log.into(), "-p".into(), folder.into(), "-c".into(), config.into()]
}
