//! `cargo xtask image`: the container image, made of the program alone, the same bytes from the same commit.

mod layout;
mod program;
mod tar;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::command::quietly;
use crate::places;
use layout::Layout;
use tar::Entry;

/// The user that the image's program runs as, known by number so that Kubernetes can tell it from root.
const USER: &str = "1001";
const NO_DATE: &str = "1970-01-01T00:00:00Z";

#[derive(clap::Args)]
pub struct Args {
    /// An OCI layout: a folder, or one file when the name ends in .tar [default: target/image/homeport.oci]
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Cargo's profile for the program
    #[arg(long, value_name = "NAME", default_value = "release")]
    profile: String,
}

pub fn run(args: &Args) -> Result<bool> {
    let out = args.out.clone().unwrap_or_else(|| places::target().join("image/homeport.oci"));
    let digest = build(&args.profile, &out)?;
    println!("{} {digest}", out.display());
    Ok(true)
}

/// Builds the program and writes the image; its digest.
///
/// # Errors
/// The program does not build, is not static, or names files of this machine.
pub fn build(profile: &str, out: &Path) -> Result<String> {
    let origin = Origin::of_workspace();
    let program = program::build(profile, origin.revision.as_deref())?;
    let content = fs::read(&program).with_context(|| format!("read {}", program.display()))?;
    let fit = program::ensure_static(&content).and_then(|()| program::ensure_anonymous(&content));
    fit.with_context(|| program.display().to_string())?;
    let image = layout(content, &origin);
    image.write(out).with_context(|| format!("write {}", out.display()))?;
    Ok(image.digest)
}

/// Where the image's content comes from.
struct Origin {
    /// Of the commit, so that two builds of it are the same.
    date: String,
    revision: Option<String>,
}

impl Origin {
    fn of_workspace() -> Self {
        let revision = git(&["rev-parse", "HEAD"]).map(|commit| match git(&["status", "--porcelain"]) {
            Some(changes) if changes.is_empty() => commit,
            _ => format!("{commit}-dirty"),
        });
        let date = git(&["log", "-1", "--date=format-local:%Y-%m-%dT%H:%M:%SZ", "--format=%cd"]);
        Self { date: date.unwrap_or_else(|| NO_DATE.to_owned()), revision }
    }
}

/// What git says; `None` without git.
fn git(args: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    // Looking must not change the index.
    command.current_dir(places::workspace()).env("TZ", "UTC").arg("--no-optional-locks").args(args);
    quietly(&mut command, Duration::from_secs(20)).ok().map(|text| text.trim().to_owned())
}

fn layout(program: Vec<u8>, origin: &Origin) -> Layout {
    let passwd = format!("homeport:x:{USER}:{USER}:homeport:/:/homeport\n");
    let group = format!("homeport:x:{USER}:\n");
    let layer = tar::pack(&[
        Entry::folder("etc/"),
        Entry::file("etc/group", 0o644, group.into_bytes()),
        Entry::file("etc/passwd", 0o644, passwd.into_bytes()),
        Entry::file("homeport", 0o755, program),
    ]);
    let mut labels = serde_json::json!({
        "org.opencontainers.image.title": "homeport",
        "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
        "org.opencontainers.image.licenses": "Apache-2.0",
    });
    if let Some(revision) = &origin.revision {
        labels["org.opencontainers.image.revision"] = revision.as_str().into();
    }
    let config = serde_json::json!({
        "created": origin.date,
        "architecture": program::architecture(),
        "os": "linux",
        "config": { "User": USER, "ExposedPorts": { "5000/tcp": {} }, "Entrypoint": ["/homeport"], "WorkingDir": "/", "Labels": labels },
        "rootfs": { "type": "layers", "diff_ids": [layout::digest(&layer)] },
        "history": [{ "created": origin.date, "created_by": "cargo xtask image" }],
    });
    Layout::new(layer, config.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin { date: NO_DATE.to_owned(), revision: Some("abc".to_owned()) }
    }

    #[test]
    fn the_same_program_gives_the_same_image() {
        let image = |program: &[u8]| layout(program.to_vec(), &origin()).digest;
        assert_eq!(image(b"one"), image(b"one"));
        assert_ne!(image(b"one"), image(b"two"));
    }

    #[test]
    fn a_folder_and_a_file_hold_the_same() {
        let temp = tempfile::tempdir().unwrap();
        let (folder, file) = (temp.path().join("x.oci"), temp.path().join("x.tar"));
        let image = layout(b"program".to_vec(), &origin());
        for out in [&folder, &file] {
            image.write(out).unwrap();
            // A second time replaces what is there.
            image.write(out).unwrap();
        }
        let unpacked = temp.path().join("unpacked");
        fs::create_dir(&unpacked).unwrap();
        let limit = Duration::from_secs(20);
        quietly(Command::new("tar").arg("-xf").arg(&file).arg("-C").arg(&unpacked), limit).unwrap();
        quietly(Command::new("diff").arg("-r").arg(&folder).arg(&unpacked), limit).unwrap();
    }

    #[test]
    fn the_layer_unpacks_to_the_program_and_its_user() {
        let temp = tempfile::tempdir().unwrap();
        let out = temp.path().join("x.oci");
        layout(b"program".to_vec(), &origin()).write(&out).unwrap();
        let read = |digest: &serde_json::Value| {
            fs::read(out.join("blobs/sha256").join(digest.as_str().unwrap().trim_start_matches("sha256:"))).unwrap()
        };
        let json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
        let index = json(&fs::read(out.join("index.json")).unwrap());
        let manifest = json(&read(&index["manifests"][0]["digest"]));
        let config = json(&read(&manifest["config"]["digest"]));
        assert_eq!(config["config"]["User"], "1001");
        assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
        fs::write(temp.path().join("layer"), read(&manifest["layers"][0]["digest"])).unwrap();
        let list = Command::new("tar").arg("-tvf").arg(temp.path().join("layer")).env("TZ", "UTC").output().unwrap();
        let list = String::from_utf8(list.stdout).unwrap();
        let names: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().last()).collect();
        assert_eq!(names, ["etc/", "etc/group", "etc/passwd", "homeport"]);
        assert!(list.lines().last().unwrap().starts_with("-rwxr-xr-x"), "{list}");
        assert!(list.lines().all(|line| line.contains("1970-01-01")), "{list}");
    }
}
