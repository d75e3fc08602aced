//! `cargo xtask tidy`: the project's rules that a machine can check at once.

mod arrows;
mod links;
mod text;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{command, places};

pub fn run() -> Result<bool> {
    let root = places::workspace();
    let files = files(&root)?;
    let mut complaints = arrows::check(&root)?;
    for file in &files {
        let path = root.join(file);
        // What is not text has no lines to check.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        complaints.extend(text::check(file, &text));
        if file.extension().is_some_and(|ending| ending == "md") {
            complaints.extend(links::check(&root, file, &text));
        }
    }
    if !formatted(&root)? {
        complaints.push("some files are not formatted; run `cargo fmt --all`".to_owned());
    }
    for complaint in &complaints {
        println!("tidy: {complaint}");
    }
    println!("tidy: {} files, {} complaints", files.len(), complaints.len());
    Ok(complaints.is_empty())
}

fn formatted(root: &Path) -> Result<bool> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).args(["fmt", "--all", "--", "--check", "-l"]);
    command::succeeds(&mut command)
}

/// All files of the project, relative to its root.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        for entry in fs::read_dir(&path).with_context(|| format!("list {}", path.display()))? {
            let entry = entry?;
            let name = entry.file_name();
            let relative = folder.join(&name);
            // Links are not followed: what they name is checked where it is.
            let kind = entry.file_type()?;
            if kind.is_dir() {
                if !is_output(&name.to_string_lossy()) {
                    folders.push(relative);
                }
            } else if kind.is_file() {
                found.push(relative);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Folders of tools and of running programs.
fn is_output(folder: &str) -> bool {
    matches!(folder, ".git" | "target" | "corpus" | "artifacts" | "homeport-data" | "node_modules")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_folders_are_left_out() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["src", "target/debug", ".git"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
            fs::write(root.path().join(folder).join("file"), "").unwrap();
        }
        assert_eq!(files(root.path()).unwrap(), [Path::new("src/file")]);
    }
}
