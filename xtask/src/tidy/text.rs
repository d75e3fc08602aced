//! Rules about the lines of a file.

use std::path::Path;

/// Longer than this, a file has more than one job.
const MOST_LINES: usize = 600;
/// Files that may be longer, with the reason.
const LONG: &[(&str, &str)] = &[("Cargo.lock", "written by cargo")];

/// Folders that exist on one machine only. Put together, so that this file passes its own check.
const MACHINE: [&str; 2] = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];
const HOME: &str = concat!("/ho", "me/");

pub(super) fn check(file: &Path, text: &str) -> Vec<String> {
    let name = file.display();
    let mut complaints = Vec::new();
    let count = text.lines().count();
    let listed = LONG.iter().any(|(path, _)| Path::new(path) == file);
    if is_code(file) && !is_test(file) && !listed && count > MOST_LINES {
        complaints.push(format!("{name}: {count} lines, {MOST_LINES} are allowed"));
    }
    for (number, line) in text.lines().enumerate() {
        if let Some(path) = machine_path(line) {
            complaints.push(format!("{name}:{}: names a folder of one machine: {path}", number + 1));
        }
    }
    complaints
}

fn is_code(file: &Path) -> bool {
    file.extension().is_some_and(|ending| ending == "rs" || ending == "js" || ending == "sh")
}

fn is_test(file: &Path) -> bool {
    file.components().any(|part| part.as_os_str() == "tests") || file.ends_with("tests.rs")
}

fn machine_path(line: &str) -> Option<&'static str> {
    // A folder that only ends like one of these, `/usr/src/work/`, is none.
    let starts = |prefix: &str| {
        line.match_indices(prefix).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            before.is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}' | '~')))
        })
    };
    if let Some(path) = MACHINE.iter().find(|path| starts(path)) {
        return Some(path);
    }
    // A placeholder such as NAME or $USER is no machine's.
    let real = line.match_indices(HOME).any(|(at, _)| {
        let rest = &line[at + HOME.len()..];
        rest.starts_with(|c: char| c.is_ascii_lowercase())
    });
    (real && starts(HOME)).then_some(HOME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_are_refused_unless_they_are_tests() {
        let text = "x\n".repeat(MOST_LINES + 1);
        assert_eq!(check(Path::new("crates/a/src/b.rs"), &text).len(), 1);
        assert!(check(Path::new("crates/a/tests/b.rs"), &text).is_empty());
        assert!(check(Path::new("crates/a/src/b/tests.rs"), &text).is_empty());
        assert!(check(Path::new("Cargo.lock"), &text).is_empty());
    }

    #[test]
    fn folders_of_one_machine_are_refused() {
        let line = |text: &str| check(Path::new("a.md"), text).len();
        assert_eq!(line(&format!("see {}main", MACHINE[0])), 1);
        assert_eq!(line(&format!("cd {}.cache", MACHINE[1])), 1);
        assert_eq!(line(&format!("cd {HOME}alice/x")), 1);
        assert_eq!(line(&format!("cd {HOME}NAME/x")), 0);
        assert_eq!(line(&format!("/usr/src{}x", MACHINE[0])), 0);
        assert_eq!(line("the frame/work/flow"), 0);
    }
}
