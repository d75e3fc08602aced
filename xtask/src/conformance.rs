//! `cargo xtask conformance`: the suites of the OCI distribution specification against homeport.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command::{output, succeeds};
use crate::server::{Launch, Server, free_port};
use crate::{places, suite, tools};

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Version {
    /// The released suite 1.1.1
    #[value(name = "1.1")]
    Released,
    /// The suite of the specification's main branch, every option switched on
    Main,
}

#[derive(clap::Args)]
pub struct Args {
    /// One suite only
    #[arg(long)]
    version: Option<Version>,
    /// The suite's program; without it, the one that `cargo xtask tools` has built
    #[arg(long, requires = "version")]
    suite: Option<PathBuf>,
    /// A registry with distribution's configuration; without it, homeport is built
    #[arg(long)]
    homeport: Option<PathBuf>,
    /// Keep the suite's reports in this folder
    #[arg(long, value_name = "FOLDER")]
    reports: Option<PathBuf>,
}

/// The longer suite takes about a minute against a slow registry.
const LIMIT: Duration = Duration::from_secs(15 * 60);

pub fn run(args: &Args) -> Result<bool> {
    let versions = match args.version {
        Some(version) => vec![version],
        None => vec![Version::Released, Version::Main],
    };
    let registry = match &args.homeport {
        Some(path) => path.clone(),
        None => built()?,
    };
    let mut passed = true;
    for version in versions {
        passed &= run_one(version, args, &registry)?;
    }
    Ok(passed)
}

fn built() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(places::workspace()).args(["build", "--quiet", "-p", "homeport"]);
    if !succeeds(&mut command)? {
        bail!("homeport does not build");
    }
    Ok(places::target().join("debug/homeport"))
}

fn run_one(version: Version, args: &Args, registry: &Path) -> Result<bool> {
    let tool = match version {
        Version::Released => "conformance-1.1",
        Version::Main => "conformance-main",
    };
    let program = match &args.suite {
        Some(path) => path.clone(),
        None => suite_program(tool)?,
    };
    let folder = tempfile::tempdir()?;
    let server = start(registry, folder.path())?;
    let reports = args.reports.clone().unwrap_or_else(|| folder.path().join("reports"));
    fs::create_dir_all(&reports).with_context(|| format!("create {}", reports.display()))?;
    let reports = reports.canonicalize()?;

    let mut command = Command::new(program.canonicalize().with_context(|| format!("find {}", program.display()))?);
    // No setting of the caller's environment, and no configuration file, may weaken the suite.
    let inherited = std::env::vars_os().map(|(name, _)| name);
    for name in inherited.filter(|name| name.to_string_lossy().starts_with("OCI_")) {
        command.env_remove(name);
    }
    command.current_dir(folder.path());
    command.envs(match version {
        Version::Released => suite::released(server.port, &reports),
        Version::Main => suite::main(server.port, &reports),
    });
    let (succeeded, text) = output(&mut command, LIMIT)?;
    let result = suite::read(&reports, &text)?;
    result.print(tool);
    Ok(succeeded && result.passed())
}

fn suite_program(tool: &str) -> Result<PathBuf> {
    if let Some(path) = tools::find(tool) {
        return Ok(path);
    }
    tools::run(&tools::Args::only(tool))?;
    tools::find(tool).with_context(|| format!("{tool} is not there; give one with --suite PATH --version …"))
}

fn start(registry: &Path, folder: &Path) -> Result<Server> {
    let port = free_port()?;
    let (store, config) = (folder.join("store"), folder.join("config.yml"));
    fs::create_dir_all(&store)?;
    let text = format!(
        "version: 0.1\nlog:\n  level: error\n\
         storage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\n\
         http:\n  addr: 127.0.0.1:{port}\n\
         homeport:\n  missingBlobs: accept\n",
        store.display()
    );
    fs::write(&config, text)?;
    let args = vec!["serve".into(), config.into()];
    Server::start(&Launch { program: registry.to_owned(), args, port, log: folder.join("log") })
}
