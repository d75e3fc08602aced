//! The variables of this process, as text.

use std::ffi::OsString;

/// All of them. [`std::env::vars`] would end the program at one that is not UTF-8, though it may be meant for somebody else:
/// here a name that is not is left out, and a value has U+FFFD instead, which whoever it is meant for can refuse.
pub(crate) fn variables() -> impl Iterator<Item = (String, String)> {
    texts(std::env::vars_os())
}

fn texts(variables: impl Iterator<Item = (OsString, OsString)>) -> impl Iterator<Item = (String, String)> {
    variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn no_variable_ends_the_program() {
        let bad = || OsString::from_vec(b"caf\xe9".to_vec());
        let variables = [("A".into(), "1".into()), ("B".into(), bad()), (bad(), "2".into())];
        let texts: Vec<_> = texts(variables.into_iter()).collect();
        assert_eq!(texts, [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "caf\u{fffd}".to_owned())]);
    }
}
