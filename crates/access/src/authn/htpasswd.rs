//! Users of an htpasswd file, read as distribution reads it.

use std::collections::HashMap;
use std::sync::Arc;

use thiserror::Error;

use super::local::{Entry, LocalUsers, Table, check_name};
use super::{Authenticating, Authenticator, Claim, Problem};
use crate::credential::Credential;
use crate::identity::{Source, Standing, Users};
use crate::password::{Passwords, StoredHash};

/// Largest file: some hundred thousand users.
const FILE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Users of an htpasswd file. Only bcrypt entries (`htpasswd -B`) can log in; others are kept from doing harm
/// and reported. Replaced users take effect with the next request.
pub struct Htpasswd(LocalUsers);

/// Why a file was refused as a whole. The users in force stay.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum HtpasswdError {
    /// A line that is neither empty, a comment, nor `name:hash`. Distribution refuses the file as well; the
    /// line itself is not shown, it may be a password.
    #[error("line {0} is not of the form name:hash")]
    Line(usize),
    /// Larger than 32 MiB.
    #[error("file is larger than {FILE_BYTES_MAX} bytes")]
    TooLarge,
}

impl Htpasswd {
    /// Reads a file's content.
    ///
    /// # Errors
    /// See [`HtpasswdError`].
    pub fn new(content: &[u8], passwords: Arc<Passwords>) -> Result<(Self, Vec<Problem>), HtpasswdError> {
        let (table, problems) = parse(content)?;
        Ok((Self(LocalUsers::new(Source::Htpasswd, passwords, table)), problems))
    }

    /// Replaces all users by the file's new content.
    ///
    /// # Errors
    /// See [`HtpasswdError`]; nothing is changed then.
    pub fn reload(&self, content: &[u8]) -> Result<Vec<Problem>, HtpasswdError> {
        let (table, problems) = parse(content)?;
        self.0.replace(table);
        Ok(problems)
    }
}

/// Blank lines and lines that begin with `#` are skipped; of two lines for one name the later counts.
fn parse(content: &[u8]) -> Result<(Table, Vec<Problem>), HtpasswdError> {
    if content.len() > FILE_BYTES_MAX {
        return Err(HtpasswdError::TooLarge);
    }
    let (mut entries, mut problems) = (HashMap::new(), Vec::new());
    for (index, line) in content.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let number = index + 1;
        let mut report = |text: String| problems.push(Problem { entry: format!("line {number}"), text });
        let colon = line.iter().position(|byte| *byte == b':').ok_or(HtpasswdError::Line(number))?;
        let (name, stored) = (line.get(..colon).unwrap_or_default(), line.get(colon + 1..).unwrap_or_default());
        let Ok(name) = std::str::from_utf8(name) else {
            report("user name is not UTF-8".into());
            continue;
        };
        if let Err(text) = check_name(name) {
            report(text.into());
            continue;
        }
        let hash = StoredHash::parse(stored).inspect_err(|problem| report(format!("user {name:?}: {problem}"))).ok();
        let entry = Entry::new(Source::Htpasswd, name, hash, stored, Box::default());
        if entries.insert(name.into(), entry).is_some() {
            report(format!("user {name:?} was listed before; this line counts"));
        }
    }
    Ok((Table::new(entries), problems))
}

impl Authenticator for Htpasswd {
    fn claim(&self, credential: &Credential) -> Claim {
        self.0.claim(credential)
    }

    fn authenticate<'a>(&'a self, credential: &'a Credential) -> Authenticating<'a> {
        self.0.authenticate(credential)
    }
}

impl Users for Htpasswd {
    fn standing(&self, source: Source, name: &str) -> Standing {
        self.0.standing(source, name)
    }

    fn generation(&self) -> u64 {
        self.0.generation()
    }
}
