//! The program of the image: static, so that it needs nothing beside it.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::command::{quietly, succeeds};
use crate::places;

/// The processor's name in the words of OCI.
pub(super) fn architecture() -> &'static str {
    match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Builds `homeport` for a profile; where it is.
pub(super) fn build(profile: &str) -> Result<PathBuf> {
    let triple = triple();
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned(), "-Cstrip=debuginfo".to_owned()];
    // Messages of panics name source files: they must not depend on where the source lies.
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    for (path, name) in [(Some(places::workspace()), "homeport"), (cargo_home, "cargo")] {
        flags.extend(path.map(|path| format!("--remap-path-prefix={}=/{name}", path.display())));
    }
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(places::workspace()).env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    // With a target named, the flags are for the program only, not for macros and build scripts.
    command.args(["build", "--locked", "-p", "homeport", "--profile", profile, "--target", &triple]);
    ensure!(succeeds(&mut command)?, "the program does not build");
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(places::target().join(triple).join(folder).join("homeport"))
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
