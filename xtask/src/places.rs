//! Where things are: the workspace, the build output, the cache of external programs.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The root of the workspace: the folder above this crate's.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Cargo's output folder.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// The folder that keeps built programs between runs:
/// `$HOMEPORT_CACHE`, else `$XDG_CACHE_HOME/homeport`, else `~/.cache/homeport`.
pub fn cache() -> Result<PathBuf> {
    cache_from(|name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
}

fn cache_from(var: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf> {
    if let Some(own) = var("HOMEPORT_CACHE") {
        return Ok(own);
    }
    if let Some(xdg) = var("XDG_CACHE_HOME") {
        return Ok(xdg.join("homeport"));
    }
    let home = var("HOME").context("no cache folder: set HOMEPORT_CACHE or HOME")?;
    Ok(home.join(".cache/homeport"))
}

/// A program on `PATH`, or where Debian keeps the programs of administrators.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_folder_follows_the_first_variable_set() {
        let vars = |set: &'static [(&str, &str)]| {
            move |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, v)| PathBuf::from(v))
        };
        let all = vars(&[("HOMEPORT_CACHE", "/a"), ("XDG_CACHE_HOME", "/b"), ("HOME", "/c")]);
        assert_eq!(cache_from(all).unwrap(), Path::new("/a"));
        let xdg = vars(&[("XDG_CACHE_HOME", "/b"), ("HOME", "/c")]);
        assert_eq!(cache_from(xdg).unwrap(), Path::new("/b/homeport"));
        assert_eq!(cache_from(vars(&[("HOME", "/c")])).unwrap(), Path::new("/c/.cache/homeport"));
        assert!(cache_from(vars(&[])).is_err());
    }
}
