//! What went wrong, all of it, in words for the person who wrote the file.

use std::fmt;
use std::path::{Path, PathBuf};

use super::document::Origin;

/// Something that was understood but will not have the effect that its author may expect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning(Finding);

/// Every reason why a configuration cannot be used. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Errors(Vec<Finding>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    file: Option<PathBuf>,
    origin: Option<Origin>,
    /// The full dotted path; empty for the file as a whole.
    key: String,
    message: String,
}

/// Collects findings while a configuration is read.
#[derive(Debug, Default)]
pub(crate) struct Report {
    file: Option<PathBuf>,
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
}

impl Report {
    pub(crate) fn new(file: Option<&Path>) -> Self {
        Self { file: file.map(Path::to_owned), ..Self::default() }
    }

    pub(crate) fn error(&mut self, origin: Option<&Origin>, key: impl Into<String>, message: impl Into<String>) {
        let finding = self.finding(origin, key.into(), message.into());
        self.errors.push(finding);
    }

    pub(crate) fn warning(&mut self, origin: Option<&Origin>, key: impl Into<String>, message: impl Into<String>) {
        let finding = self.finding(origin, key.into(), message.into());
        self.warnings.push(finding);
    }

    /// Findings about another file, such as `homeport.usersFile`.
    pub(crate) fn in_file<T>(&mut self, file: &Path, read: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.file.replace(file.to_owned());
        let result = read(self);
        self.file = outer;
        result
    }

    /// Forgets what is about other sections than this one, which do not count.
    pub(crate) fn keep_section(&mut self, section: &str) {
        let below = format!("{section}.");
        let counts =
            |finding: &Finding| finding.key.is_empty() || finding.key == section || finding.key.starts_with(&below);
        self.errors.retain(counts);
        self.warnings.retain(counts);
    }

    pub(crate) fn finish<T>(self, value: T) -> Result<(T, Vec<Warning>), Errors> {
        if self.errors.is_empty() {
            Ok((value, self.warnings.into_iter().map(Warning).collect()))
        } else {
            Err(Errors(self.errors))
        }
    }

    /// For a configuration that could not be read at all; the caller has reported why.
    pub(crate) fn into_errors(self) -> Errors {
        Errors(self.errors)
    }

    fn finding(&self, origin: Option<&Origin>, key: String, message: String) -> Finding {
        Finding { file: self.file.clone(), origin: origin.cloned(), key, message }
    }
}

impl Warning {
    /// The full dotted path of the key.
    #[cfg(test)]
    pub(crate) fn key(&self) -> &str {
        &self.0.key
    }
}

impl Errors {
    /// One line each, in the order of the file.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(ToString::to_string)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.origin, &self.file) {
            (Some(Origin::Line(line)), Some(file)) => write!(f, "{}:{line}: ", file.display())?,
            (Some(Origin::Line(line)), None) => write!(f, "line {line}: ")?,
            (Some(Origin::Variable(name)), _) => write!(f, "{name}: ")?,
            (Some(Origin::Flag(name)), _) => write!(f, "{name}: ")?,
            (None, Some(file)) => write!(f, "{}: ", file.display())?,
            (None, None) => {}
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", printable(&self.key))?;
        }
        f.write_str(&printable(&self.message))
    }
}

/// Keys come from a file that may hold anything; a terminal must not obey them, nor a log break its line.
fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.lines().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&line)?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}
