//! What a running server can take.

use super::resolved::Settings;
use super::schema::{self, Change};
use super::show;

/// The keys that differ between two settings: first those that take effect at once, then those that wait for a restart.
///
/// The keys are full dotted paths, in the order in which `config check` shows them, each once.
pub(crate) fn reload_diff(old: &Settings, new: &Settings) -> (Vec<String>, Vec<String>) {
    // Another certificate is taken over; a listener cannot begin or cease to speak TLS.
    let tls_toggled = old.http.tls.is_some() != new.http.tls.is_some();
    let (old, new) = (show::lines(old), show::lines(new));
    let (mut applied, mut restart) = (Vec::new(), Vec::new());
    let gone = old.iter().filter(|(path, _)| !new.iter().any(|(other, _)| other == path));
    let changed = new.iter().filter(|line| !old.contains(line));
    for (path, _) in changed.chain(gone) {
        let toggled = tls_toggled && path.starts_with(&["http".to_owned(), "tls".to_owned()]);
        let keys = if toggled || change(path) == Change::Restart { &mut restart } else { &mut applied };
        keys.push(path.join("."));
    }
    (applied, restart)
}

/// Numbers in a shown path are items of a list, unless the table has a name there.
pub(super) fn schema_path(path: &[String]) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    for part in path {
        let list = schema::children(&found) == ["[]"];
        found.push(if list { "[]" } else { part });
    }
    found
}

fn change(path: &[String]) -> Change {
    let path = schema_path(path);
    schema::find(&path).map_or(Change::Restart, |key| key.change)
}
