//! Which crate may use which: the order of the modules that the design fixes.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// A crate and what it may use of ours. A crate that is not listed is a complaint.
const ARROWS: &[(&str, &[&str])] = &[
    ("oci", &[]),
    ("net", &[]),
    ("storage", &[]),
    ("bucket", &["storage"]),
    ("content", &["oci", "storage"]),
    ("transfer", &["oci", "content", "storage"]),
    ("access", &["oci"]),
    ("tenancy", &["oci", "access", "content"]),
    ("cluster", &["oci", "access", "net"]),
    ("operator", &["oci", "access", "cluster"]),
    ("registry", &["oci", "net", "content", "access", "storage", "tenancy"]),
    ("apiserver", &["oci", "net", "content", "access", "cluster", "tenancy"]),
    (
        "app",
        &[
            "oci",
            "net",
            "storage",
            "bucket",
            "content",
            "transfer",
            "access",
            "tenancy",
            "cluster",
            "registry",
            "apiserver",
            "operator",
        ],
    ),
];

pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let folder = root.join("crates");
    let mut complaints = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Ok(manifest) = fs::read_to_string(path.join("Cargo.toml")) else { continue };
        complaints.extend(check_crate(&name, &manifest));
    }
    complaints.sort();
    Ok(complaints)
}

fn check_crate(name: &str, manifest: &str) -> Vec<String> {
    let Some((_, allowed)) = ARROWS.iter().find(|(crate_name, _)| *crate_name == name) else {
        return vec![format!("crates/{name}: not in the list of xtask/src/tidy/arrows.rs")];
    };
    used(manifest)
        .into_iter()
        .filter(|used| is_ours(used) && !allowed.contains(&used.as_str()))
        .map(|used| format!("crates/{name}: must not depend on {used}"))
        .collect()
}

fn is_ours(name: &str) -> bool {
    name == "homeport" || name == "e2e" || name == "xtask" || ARROWS.iter().any(|(ours, _)| *ours == name)
}

/// The names in the sections of dependencies that end up in the program; tests may use more.
fn used(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            let (table, name) = section.rsplit_once('.').unwrap_or(("", section));
            inside = name == "dependencies" || name == "build-dependencies";
            // `[dependencies.name]`
            if table == "dependencies" || table.ends_with(".dependencies") {
                names.push(name.to_owned());
            }
        } else if inside && !line.starts_with('#') {
            let name: String = line.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect();
            if !name.is_empty() {
                names.push(name);
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrow_against_the_order_is_a_complaint() {
        let manifest = "[dependencies]\noci.workspace = true\nregistry.workspace = true\nbytes = \"1\"\n";
        assert_eq!(check_crate("content", manifest), ["crates/content: must not depend on registry"]);
        assert_eq!(check_crate("new", manifest).len(), 1);
    }

    #[test]
    fn tests_may_use_more() {
        let manifest = "[dependencies]\noci.workspace = true\n[dev-dependencies]\nregistry.workspace = true\n";
        assert!(check_crate("content", manifest).is_empty());
        assert_eq!(
            used("[target.'cfg(unix)'.dependencies]\nnet = {}\n[dependencies.oci]\npath = \"x\""),
            ["net", "oci"]
        );
    }
}
