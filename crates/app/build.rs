//! Tells the program which commit it is built from; without git it does without.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=HOMEPORT_COMMIT");
    // A commit on a branch shows in the log of HEAD only. What is not there would be taken for changed each time.
    for path in ["../../.git/HEAD", "../../.git/logs/HEAD"].into_iter().filter(|path| Path::new(path).exists()) {
        println!("cargo::rerun-if-changed={path}");
    }
    let commit = std::env::var("HOMEPORT_COMMIT").ok().or_else(|| {
        let output = Command::new("git").args(["rev-parse", "--short=9", "HEAD"]).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    });
    let commit = commit.filter(|commit| !commit.is_empty());
    println!("cargo::rustc-env=HOMEPORT_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    let suffix = commit.map(|commit| format!(" ({commit})")).unwrap_or_default();
    println!("cargo::rustc-env=HOMEPORT_COMMIT_SUFFIX={suffix}");
}
