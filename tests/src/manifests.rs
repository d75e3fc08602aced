//! What `homeport manifests` prints.

use anyhow::{Result, ensure};
use std::process::Command;

/// What `homeport manifests` prints with these arguments, a document each.
///
/// # Errors
/// It fails.
pub fn manifests(arguments: &[&str]) -> Result<Vec<String>> {
    let output = Command::new(crate::binary()?).arg("manifests").args(arguments).output()?;
    ensure!(output.status.success(), "manifests: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    Ok(text.split("\n---").map(|document| document.trim_start_matches("---").to_owned() + "\n").collect())
}

/// Whether a document is of a kind.
#[must_use]
pub fn is(document: &str, kind: &str) -> bool {
    document.lines().any(|line| line == format!("kind: {kind}"))
}

/// Whether a document that is made for the namespace `home` lies outside of it, and does not go with it.
#[must_use]
pub fn outlives(document: &str, home: &str) -> bool {
    let elsewhere = ["ClusterRole", "ClusterRoleBinding", "APIService"].iter().any(|kind| is(document, kind))
        || document.lines().any(|line| line.trim() == "namespace: kube-system");
    elsewhere && document.contains(home)
}
