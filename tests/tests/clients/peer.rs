//! The registries that Homeport takes over from, and hands back to.

use crate::desk::{Daemon, Desk};
use anyhow::{Context, Result};
use e2e::Client;
use std::path::{Path, PathBuf};

/// One of them.
pub(crate) struct Old<'a> {
    desk: &'a Desk,
    name: &'static str,
    program: PathBuf,
    config: PathBuf,
}

/// It runs.
pub(crate) struct Running {
    daemon: Daemon,
    address: String,
}

impl<'a> Old<'a> {
    /// `docker-registry` is Debian's 2.8.2, `distribution` is 3.1.1. `None` when it is not here.
    pub(crate) fn find(desk: &'a Desk, name: &'static str, tree: &Path) -> Result<Option<Self>> {
        Self::find_on(desk, name, &format!("filesystem: {{rootdirectory: {}}}", tree.display()))
    }

    /// The same with another storage, as a line of that section.
    pub(crate) fn find_on(desk: &'a Desk, name: &'static str, storage: &str) -> Result<Option<Self>> {
        let Some(program) = e2e::tool(name) else { return Ok(None) };
        let config = desk.write(
            &format!("{name}.yml"),
            &format!(
                "version: 0.1\n\
                 storage:\n  {storage}\n  delete: {{enabled: true}}\n  redirect: {{disable: true}}\n\
                 http: {{addr: \"127.0.0.1:0\"}}\n"
            ),
        )?;
        Ok(Some(Self { desk, name, program, config }))
    }

    pub(crate) fn serve(&self) -> Result<Running> {
        let config = self.config.display().to_string();
        let ready = "listening on 127.0.0.1:";
        let daemon = self.desk.daemon(self.name, &self.program, &["serve", &config], ready)?;
        let log = daemon.log();
        let (_, port) = log.split_once(ready).context("it listens")?;
        let port: String = port.chars().take_while(char::is_ascii_digit).collect();
        Ok(Running { daemon, address: format!("127.0.0.1:{port}") })
    }

    /// Its garbage collection.
    pub(crate) fn garbage_collect(&self, option: &str) -> Result<String> {
        self.desk.program(self.program.clone()).ok(&format!("garbage-collect {option} {}", self.config.display()))
    }
}

impl Running {
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&format!("http://{}", self.address))
    }

    pub(crate) fn stop(self) -> Result<()> {
        self.daemon.stop()
    }
}
