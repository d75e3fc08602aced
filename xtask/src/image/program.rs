//! The program of the image: static, so that it needs nothing beside it.

use std::env;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::command::{quietly, succeeds};
use crate::places;

/// As much of a commit's name as the program tells.
const COMMIT_LEN: usize = 9;
/// As much of a path as an error shows.
const PATH_SHOWN: usize = 200;

/// The processor's name in the words of OCI.
pub(super) fn architecture() -> &'static str {
    match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Builds `homeport` for a profile; where it is. `revision` is what it says of its origin.
pub(super) fn build(profile: &str, revision: Option<&str>) -> Result<PathBuf> {
    let triple = triple();
    // First, because the folder that sources are unpacked to is named by cargo.
    ensure!(succeeds(cargo().args(["fetch", "--locked", "--target", &triple]))?, "the sources cannot be had");
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned(), "-Cstrip=debuginfo".to_owned()];
    flags.extend(origins().iter().map(|(path, name)| format!("--remap-path-prefix={}={name}", path.display())));
    let mut command = cargo();
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    // What C compilers take for the time that a program may ask for.
    command.env("SOURCE_DATE_EPOCH", "0");
    if let Some(revision) = revision {
        command.env("HOMEPORT_COMMIT", &revision[..revision.len().min(COMMIT_LEN)]);
    }
    // With a target named, the flags are for the program only, not for macros and build scripts.
    command.args(["build", "--locked", "-p", "homeport", "--profile", profile, "--target", &triple]);
    ensure!(succeeds(&mut command)?, "the program does not build");
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(target().join(triple).join(folder).join("homeport"))
}

fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(places::workspace());
    command
}

/// Folders of this machine that sources lie in, and what stands for them in messages of panics: these must not depend on
/// where the source lies. Of two that fit, the later one counts.
fn origins() -> Vec<(PathBuf, &'static str)> {
    let mut origins = vec![(places::workspace(), "/homeport"), (target(), "/target")];
    if let Some(home) = cargo_home() {
        let registries = fs::read_dir(home.join("registry/src")).into_iter().flatten().flatten();
        let registries: Vec<PathBuf> = registries.map(|entry| entry.path()).collect();
        origins.push((home, "/cargo"));
        // Named after the registry's host, which may be a mirror.
        origins.extend(registries.into_iter().map(|folder| (folder, "/cargo")));
    }
    // The compiler takes the folder that it works in by its real name.
    let real = |(path, name): &(PathBuf, &'static str)| Some((fs::canonicalize(path).ok()?, *name));
    let real: Vec<_> = origins.iter().filter_map(real).filter(|entry| !origins.contains(entry)).collect();
    origins.into_iter().chain(real).collect()
}

/// Absolute, since the compiler works in another folder.
fn target() -> PathBuf {
    places::workspace().join(places::target())
}

fn cargo_home() -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))
}

/// Fails when a program names files of this machine.
pub(super) fn ensure_anonymous(program: &[u8]) -> Result<()> {
    // More than the folder alone: a short one, such as /src, is part of other paths.
    let inside =
        [(Some(places::workspace()), "crates/".into()), (Some(target()), triple()), (cargo_home(), "registry/".into())];
    for (folder, inside) in inside.into_iter().filter_map(|(folder, inside)| Some((folder?, inside))) {
        let real = fs::canonicalize(&folder).unwrap_or_else(|_| folder.clone());
        for path in [folder, real] {
            let found = first_below(program, path.join(&inside).as_os_str().as_bytes());
            ensure!(found.is_none(), "names a file of this machine: {}", found.unwrap_or_default());
        }
    }
    Ok(())
}

/// The first path in a program that begins with a folder's.
fn first_below(program: &[u8], folder: &[u8]) -> Option<String> {
    let mut rest = program;
    // By the first byte of a path, which is faster than to compare everywhere.
    while let Some(at) = rest.iter().position(|byte| *byte == b'/') {
        rest = &rest[at..];
        if rest.starts_with(folder) {
            let end = rest.iter().position(|byte| !byte.is_ascii_graphic()).unwrap_or(rest.len());
            return Some(String::from_utf8_lossy(&rest[..end.min(PATH_SHOWN)]).into_owned());
        }
        rest = &rest[1..];
    }
    None
}

/// musl where it is installed with its C compiler, else glibc, which can be linked statically as well.
fn triple() -> String {
    let arch = env::consts::ARCH;
    let musl = format!("{arch}-unknown-linux-musl");
    let installed = quietly(Command::new("rustup").args(["target", "list", "--installed"]), Duration::from_secs(20));
    let has_musl = installed.is_ok_and(|list| list.lines().any(|line| line.trim() == musl));
    if has_musl && places::on_path("musl-gcc").is_some() { musl } else { format!("{arch}-unknown-linux-gnu") }
}

/// Fails when an ELF program asks for a dynamic linker, which an empty image does not have.
pub(super) fn ensure_static(elf: &[u8]) -> Result<()> {
    const INTERPRETER: u64 = 3;
    let field = |at: usize, len: usize| -> Result<u64> {
        let Some(bytes) = elf.get(at..at + len) else { bail!("no complete ELF file") };
        Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    ensure!(elf.starts_with(b"\x7fELF\x02\x01"), "no ELF file of 64 bits, little end first");
    let (table, size, count) = (usize::try_from(field(32, 8)?)?, usize::try_from(field(54, 2)?)?, field(56, 2)?);
    for index in 0..usize::try_from(count)? {
        ensure!(field(table + index * size, 4)? != INTERPRETER, "is linked dynamically");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_names_a_file_of_this_machine_is_refused() {
        let program =
            |path: &std::path::Path| [b"\x7fELF\0 is not /src/x", path.as_os_str().as_bytes(), b"\0"].concat();
        let own = places::workspace().join("crates/app/src/main.rs");
        let said = ensure_anonymous(&program(&own)).unwrap_err().to_string();
        assert_eq!(said, format!("names a file of this machine: {}", own.display()));
        assert!(ensure_anonymous(&program(&cargo_home().unwrap().join("registry/src/x"))).is_err());
        assert!(ensure_anonymous(&program("/homeport/crates/app/src/main.rs".as_ref())).is_ok());
    }

    #[test]
    fn a_program_with_a_dynamic_linker_is_refused() {
        // This test itself is linked dynamically, as every test of this target is.
        let own = std::fs::read(env::current_exe().unwrap()).unwrap();
        assert_eq!(ensure_static(&own).unwrap_err().to_string(), "is linked dynamically");
        let mut without = vec![0; 120];
        without[..6].copy_from_slice(b"\x7fELF\x02\x01");
        assert!(ensure_static(&without).is_ok());
        assert!(ensure_static(b"#!/bin/sh").is_err());
        assert!(ensure_static(&own[..40]).is_err());
    }
}
