//! The configuration of `homeport serve`: distribution's file and variables, and a section of our own.
//!
//! text → `document` (what was written, and where) → `overlay` (variables, flags) → `check` (the table of keys in `schema`)
//! → `resolve` → [`Settings`]. All mistakes are reported together. Nothing here reads the environment or a clock; files are read
//! only where a setting names one.

mod check;
mod document;
mod hint;
mod overlay;
mod reload;
mod report;
mod resolve;
mod resolved;
mod schema;
mod secret;
mod show;
mod value;

#[cfg(test)]
mod tests;

use std::io::Read as _;
use std::path::Path;

use document::{BYTES_MAX, Node, Origin};
use resolve::{Base, ReadFile};

pub(crate) use overlay::Flags;
pub(crate) use reload::reload_diff;
pub(crate) use report::{Errors, Warning};
pub(crate) use resolved::*;
pub(crate) use secret::Secret;
pub(crate) use show::yaml;

/// Reads and resolves a configuration. Without a path the defaults are those of [`Settings::zero_config`]; variables and flags
/// count in both cases.
pub(crate) fn load(
    path: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
    flags: &Flags,
) -> Result<(Settings, Vec<Warning>), Errors> {
    let mut report = report::Report::new(path);
    let Some(path) = path else { return read(None, env, flags, &read_file, report) };
    match read_file(path) {
        Ok(text) => read(Some(&text), env, flags, &read_file, report),
        Err(error) => {
            report.error(None, "", format!("cannot read the configuration: {error}"));
            Err(report.into_errors())
        }
    }
}

/// The same for a command that looks at the section `storage` only: mistakes elsewhere do not count, and neither do variables,
/// since they could not tell one file from another.
pub(crate) fn load_storage(path: &Path) -> Result<(Settings, Vec<Warning>), Errors> {
    let mut report = report::Report::new(Some(path));
    let root = match read_file(path).map_err(|error| error.to_string()) {
        Ok(text) => Node::parse(&text).map_err(|error| (error.line.map(Origin::Line), error.message)),
        Err(error) => Err((None, format!("cannot read the configuration: {error}"))),
    };
    let mut root = match root {
        Ok(root) => root,
        Err((line, message)) => {
            report.error(line.as_ref(), "", message);
            return Err(report.into_errors());
        }
    };
    overlay::expand(&mut root);
    check::check(&root, &mut report);
    let settings = resolve::resolve(&root, Base::File, &read_file, &mut report);
    report.keep_section("storage");
    report.finish(settings)
}

#[cfg(test)]
impl Settings {
    /// A registry for one person on one machine: 127.0.0.1:5000, a data folder in the current directory, no passwords.
    pub(crate) fn zero_config() -> Self {
        let mut report = report::Report::new(None);
        resolve::resolve(&Node::empty(Origin::Line(0)), Base::ZeroConfig, &read_file, &mut report)
    }
}

fn read(
    text: Option<&str>,
    env: impl IntoIterator<Item = (String, String)>,
    flags: &Flags,
    read_file: ReadFile<'_>,
    mut report: report::Report,
) -> Result<(Settings, Vec<Warning>), Errors> {
    let mut root = match Node::parse(text.unwrap_or_default()) {
        Ok(root) => root,
        Err(error) => {
            report.error(error.line.map(Origin::Line).as_ref(), "", error.message);
            return Err(report.into_errors());
        }
    };
    overlay::expand(&mut root);
    overlay::apply_environment(&mut root, env, &mut report);
    overlay::apply_flags(&mut root, flags, &mut report);
    check::check(&root, &mut report);
    let base = if text.is_some() { Base::File } else { Base::ZeroConfig };
    let settings = resolve::resolve(&root, base, read_file, &mut report);
    report.finish(settings)
}

/// Reads a text file that is as small as a configuration should be.
fn read_file(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let limit = BYTES_MAX as u64 + 1;
    std::fs::File::open(path)?.take(limit).read_to_string(&mut text)?;
    if text.len() > BYTES_MAX {
        return Err(std::io::Error::new(
            std::io::ErrorKind::FileTooLarge,
            format!("it is longer than {BYTES_MAX} bytes"),
        ));
    }
    Ok(text)
}
