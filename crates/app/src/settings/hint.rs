//! "Did you mean …?"

/// The message, with the nearest of the known names when one is near enough to be meant.
pub(crate) fn with(message: &str, written: &str, known: &[&str]) -> String {
    match nearest(written, known.iter().copied()) {
        Some(name) => format!("{message}; did you mean \"{name}\"?"),
        None => message.to_owned(),
    }
}

/// The known name that needs the fewest edits; none when that is more than a third of its letters.
pub(crate) fn nearest<'k>(written: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let written = written.to_lowercase();
    known
        .filter(|name| *name != "*" && *name != "[]")
        .map(|name| (distance(&written, &name.to_lowercase()), name))
        .filter(|(edits, name)| *edits <= (name.len() / 3).max(1))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// Edits (insert, remove, replace a letter, swap two neighbours) between two words.
fn distance(a: &str, b: &str) -> usize {
    // A name from a file may be of any length; past the longest key there is nothing to suggest.
    const LETTERS_MAX: usize = 128;
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(LETTERS_MAX).collect(), b.chars().take(LETTERS_MAX).collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &y) in b.iter().enumerate() {
            let mut edits = (above[j] + usize::from(x != y)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                edits = edits.min(before[j - 1] + 1);
            }
            row.push(edits);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        let known = ["addr", "net", "prefix", "relativeurls", "draintimeout", "usersFile"];
        for (written, expected) in [
            ("adr", Some("addr")),
            ("adrd", Some("addr")),
            ("ADDR", Some("addr")),
            ("relativeUrls", Some("relativeurls")),
            ("drain_timeout", Some("draintimeout")),
            ("usersfile", Some("usersFile")),
            ("banana", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, known.into_iter()), expected, "{written}");
        }
    }
}
