//! `cargo xtask test`: the one command that says whether the project works on this machine.

mod failures;
mod kubernetes;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cluster::{self, Extent};
use crate::command::{output, overheard, quietly, succeeds};
use crate::{places, tidy, tools};
use failures::Failures;

#[derive(clap::Args)]
pub struct Args {
    /// Use the external programs that are there, make none
    #[arg(long)]
    no_tools: bool,
    /// Bring no cluster up: leaves out the tests that need one
    #[arg(long)]
    no_cluster: bool,
    /// Seconds for each fuzz target; 0 leaves fuzzing out
    #[arg(long, default_value_t = 5)]
    fuzz_seconds: u32,
    /// For `cargo test`
    #[arg(last = true)]
    rest: Vec<String>,
}

pub fn run(args: &Args) -> Result<bool> {
    if !args.no_tools
        && let Err(error) = tools::run(&tools::Args::default())
    {
        // Tests that need a program say so themselves.
        eprintln!("xtask: external programs: {error:#}");
    }
    let coming = kubernetes::Coming::start(!args.no_cluster);
    // Every step runs, so that one run tells all that is wrong.
    let mut failed = Vec::new();
    let mut details = Vec::new();
    let mut step = |name: &'static str, result: Result<bool>| {
        match result {
            Ok(true) => return true,
            Ok(false) => {}
            Err(error) => eprintln!("xtask: {name}: {error:#}"),
        }
        failed.push(name);
        false
    };
    step("tidy", tidy::run());
    // The tests start the program, and would fail one by one without it.
    let built = step("build", succeeds(cargo_command().args(["build", "-p", "homeport"])));
    if built && !args.no_cluster && cluster::obstacle(Extent::Node).is_none() {
        step("image", kubernetes::make_image());
    }
    let session = coming.wait();
    let session = session.unwrap_or_else(|error| {
        step("cluster", Err(error));
        None
    });
    if built {
        let variables = session.as_ref().map(kubernetes::Session::environment).unwrap_or_default();
        let services = services();
        let mut tests = cargo_command();
        tests.args(["test", "--workspace", "--no-fail-fast"]).args(&args.rest).envs(variables);
        tests.envs(services.iter().cloned());
        let mut failures = Failures::default();
        step("tests", overheard(tests, |line| failures.see(line)));
        details.append(&mut failures.tests);
        step("tests elsewhere", tests_elsewhere(&services, &mut details));
        drop(session);
        step("fuzz", fuzz(args.fuzz_seconds, &mut details));
    }
    if failed.is_empty() {
        println!("everything passed");
    } else {
        println!("failed: {}", failed.join(", "));
        details.iter().for_each(|line| println!("  {line}"));
    }
    Ok(failed.is_empty())
}

/// Services for objects, and by which variable the tests are told of each.
const SERVICES: &[(&str, &str)] = &[
    ("HOMEPORT_TEST_S3_VERSITYGW", "versitygw"),
    ("HOMEPORT_TEST_S3_MOTO", "moto"),
    ("HOMEPORT_TEST_FAKE_GCS", "fake-gcs-server"),
    ("HOMEPORT_TEST_AZURITE", "azurite"),
    ("HOMEPORT_TEST_SWIFT", "swift-proxy-server"),
    ("HOMEPORT_TEST_RADOSGW", "radosgw"),
];

/// Those that are here and that nobody has named already. A line for each that is not tested with.
fn services() -> Vec<(&'static str, PathBuf)> {
    let mut found = Vec::new();
    for &(variable, tool) in SERVICES {
        if env::var_os(variable).is_some_and(|value| !value.is_empty()) {
            continue;
        }
        match tools::find(tool) {
            Some(program) => found.push((variable, program)),
            None => {
                println!("storage: left out what needs {tool}: it is not here; `cargo xtask tools {tool}` says why")
            }
        }
    }
    found
}

/// What of the API's tests is about content, once more with the content in other services. The others differ in nothing; all
/// run with `HOMEPORT_TEST_STORAGE=s3 cargo test -p e2e --test api`.
const ELSEWHERE: [(&str, &str, &[&str]); 4] = [
    ("s3", "HOMEPORT_TEST_S3_VERSITYGW", &["lists::", "manifests::", "reads::", "uploads::"]),
    ("gcs", "HOMEPORT_TEST_FAKE_GCS", &["manifests::", "uploads::"]),
    ("azure", "HOMEPORT_TEST_AZURITE", &["uploads::"]),
    ("swift", "HOMEPORT_TEST_SWIFT", &["uploads::"]),
];

/// What failed is added to `details`.
fn tests_elsewhere(services: &[(&'static str, PathBuf)], details: &mut Vec<String>) -> Result<bool> {
    let mut passed = true;
    for (storage, variable, selection) in ELSEWHERE {
        let named = env::var_os(variable).is_some_and(|value| !value.is_empty());
        if named || services.iter().any(|(found, _)| *found == variable) {
            println!("the API's tests on {storage}");
            let mut tests = cargo_command();
            tests.args(["test", "-p", "e2e", "--test", "api", "--no-fail-fast", "--"]).args(selection);
            tests.env("HOMEPORT_TEST_STORAGE", storage).envs(services.iter().cloned());
            let mut failures = Failures::default();
            passed &= overheard(tests, |line| failures.see(line))?;
            details.extend(failures.tests.iter().map(|test| format!("{test} (on {storage})")));
        }
    }
    Ok(passed)
}

fn cargo_command() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(places::workspace());
    command
}

/// For one input; more than any takes on a busy machine.
const INPUT_SECONDS_MAX: u64 = 60;

/// Runs each fuzz target for a bounded time. A machine that cannot fuzz is told so, and passes.
fn fuzz(seconds: u32, details: &mut Vec<String>) -> Result<bool> {
    let folder = places::workspace().join("fuzz");
    let targets = fuzz_targets(&folder.join("fuzz_targets"))?;
    if seconds == 0 || targets.is_empty() {
        println!("fuzz: nothing to run");
        return Ok(true);
    }
    if let Err(error) = can_fuzz() {
        println!("fuzz: left out: {error:#}");
        return Ok(true);
    }
    println!("cargo fuzz build");
    // What is fuzzed has no unsafe code, so a sanitizer would only take time.
    if !succeeds(nightly().args(["fuzz", "build", "--sanitizer", "none"]))? {
        return Ok(false);
    }
    let mut passed = true;
    for target in targets {
        println!("cargo fuzz run {target} ({seconds} s)");
        // What is found goes to the first folder, which is not kept; the second is.
        let (corpus, seeds) = (folder.join("corpus").join(&target), folder.join("seeds").join(&target));
        fs::create_dir_all(&corpus)?;
        let mut command = nightly();
        command.args(["fuzz", "run", "--sanitizer", "none", &target]).arg(corpus).arg(seeds);
        command.args(["--", &format!("-max_total_time={seconds}"), &format!("-timeout={INPUT_SECONDS_MAX}")]);
        command.args(["-rss_limit_mb=2048", "-verbosity=0"]);
        let limit = Duration::from_secs(u64::from(seconds) + 2 * INPUT_SECONDS_MAX);
        let failure = match output(&mut command, limit) {
            Ok((true, _)) => continue,
            Ok((false, printed)) => printed,
            Err(error) => format!("{error:#}"),
        };
        println!("{failure}");
        details.push(format!("fuzz target {target}"));
        passed = false;
    }
    Ok(passed)
}

fn fuzz_targets(folder: &Path) -> Result<Vec<String>> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    let files: Vec<PathBuf> = entries.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    let sources = files.iter().filter(|file| file.extension().is_some_and(|ending| ending == "rs"));
    let mut names: Vec<String> =
        sources.filter_map(|file| file.file_stem()).map(|name| name.display().to_string()).collect();
    names.sort();
    Ok(names)
}

fn can_fuzz() -> Result<()> {
    let limit = Duration::from_secs(60);
    quietly(nightly().arg("--version"), limit).context("needs the nightly toolchain")?;
    if quietly(nightly().args(["fuzz", "--version"]), limit).is_err() {
        bail!("needs cargo-fuzz; `cargo install cargo-fuzz` makes it");
    }
    Ok(())
}

/// The `cargo` of rustup, since `$CARGO` is bound to one toolchain.
fn nightly() -> Command {
    let mut command = Command::new("cargo");
    // Set by the cargo that runs us, and stronger than `+nightly`.
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").env_remove("RUSTC");
    command.current_dir(places::workspace()).arg("+nightly");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzz_targets_are_the_rust_files() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.rs", "a.rs", "README.md"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(fuzz_targets(folder.path()).unwrap(), ["a", "b"]);
        assert!(fuzz_targets(&folder.path().join("missing")).unwrap().is_empty());
    }
}
