//! Tells the program which commit it is built from; without git it does without.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=HOMEPORT_COMMIT");
    println!("cargo::rerun-if-changed=../../.git/HEAD");
    let commit = std::env::var("HOMEPORT_COMMIT").ok().or_else(|| {
        let output = Command::new("git").args(["rev-parse", "--short=9", "HEAD"]).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    });
    let commit = commit.filter(|commit| !commit.is_empty());
    println!("cargo::rustc-env=HOMEPORT_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    let suffix = commit.map(|commit| format!(" ({commit})")).unwrap_or_default();
    println!("cargo::rustc-env=HOMEPORT_COMMIT_SUFFIX={suffix}");
}
