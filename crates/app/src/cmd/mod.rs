//! One file per subcommand.

pub(crate) mod access;
pub(crate) mod check;
pub(crate) mod credential_provider;
pub(crate) mod manifests;
pub(crate) mod operator;
pub(crate) mod passwd;
pub(crate) mod serve;
pub(crate) mod storage;
pub(crate) mod version;

use std::io::Write;

/// The last words of a failed command: one line, causes included.
pub(crate) fn complain(error: &anyhow::Error) {
    // Nobody is left to tell when even this fails.
    drop(writeln!(std::io::stderr(), "homeport: {error:#}"));
}

/// Prints to standard output; a closed pipe ends the command quietly.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
