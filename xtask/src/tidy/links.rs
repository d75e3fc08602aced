//! Links between the documents lead somewhere.

use std::path::Path;

pub(super) fn check(root: &Path, file: &Path, text: &str) -> Vec<String> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut complaints = Vec::new();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for target in targets(line) {
            let path = target.split('#').next().unwrap_or_default();
            if is_local(target) && !root.join(folder).join(path).exists() {
                complaints.push(format!("{}:{}: leads nowhere: {target}", file.display(), number + 1));
            }
        }
    }
    complaints
}

fn is_local(target: &str) -> bool {
    // Anchors within the file and addresses elsewhere are not looked up.
    !(target.is_empty() || target.starts_with('#') || target.contains("://") || target.starts_with("mailto:"))
}

/// What stands in the parentheses behind a bracket, code spans left out.
fn targets(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for prose in line.split('`').step_by(2) {
        let mut rest = prose;
        while let Some((_, behind)) = rest.split_once("](") {
            let Some((target, after)) = behind.split_once(')') else { break };
            found.push(target.split_whitespace().next().unwrap_or_default());
            rest = after;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_links_to_missing_files_are_complaints() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("docs")).unwrap();
        fs::write(root.path().join("docs/there.md"), "").unwrap();
        let text = "[a](there.md#part) [b](#part) [c](https://x/y) [d](gone.md) `[e](code.md)`\n```\n[f](no.md)\n```\n";
        let complaints = check(root.path(), Path::new("docs/index.md"), text);
        assert_eq!(complaints, ["docs/index.md:1: leads nowhere: gone.md"]);
    }
}
