//! What programs print, compared with files.

use crate::world::{Project, World};
use anyhow::{Context, Result, bail};
use e2e::kube::Kube;
use regex_lite::Regex;
use std::path::PathBuf;

/// What kubectl says to each of these lines, as a person would see it. `NS` stands for the namespace.
pub(crate) fn transcript(kube: &Kube, namespace: &str, lines: &[&str]) -> Result<String> {
    let mut text = String::new();
    for line in lines {
        let output = kube.run(&line.replace("NS", namespace), "")?;
        let said = [output.stdout, output.stderr].concat();
        text.push_str(&format!("$ kubectl {line}\n{}\n", String::from_utf8_lossy(&said).trim_end_matches('\n')));
        if !output.status.success() {
            text.push_str("(fails)\n");
        }
        text.push('\n');
    }
    Ok(text)
}

/// Takes out of a text what is another thing at each run.
pub(crate) fn plain(text: &str, world: &World, project: &Project) -> Result<String> {
    let mut text = text.replace(world.site.name(), "registry.test").replace(project.name(), "NS");
    let rules = [
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID"),
        (r"2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
        (r#"("?)\b\d{15,}\b("?)"#, "VERSION"),
        (r"(?m) (\d+m|(\d+m)?\d+s)$", " AGE"),
        // Columns are as wide as what is in them.
        (r"(?m)(\S) {2,}", "$1  "),
        (r"(?m) +$", ""),
    ];
    for (pattern, replacement) in rules {
        text = Regex::new(pattern)?.replace_all(&text, replacement).into_owned();
    }
    Ok(text)
}

/// Compares with the file of this name, or writes it.
pub(crate) fn compare(name: &str, text: &str) -> Result<()> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/tags/golden").join(name);
    if std::env::var_os("HOMEPORT_BLESS").is_some() {
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if text == expected {
        return Ok(());
    }
    let different = text.lines().zip(expected.lines().chain(std::iter::repeat(""))).position(|(is, was)| is != was);
    let line = different.unwrap_or_else(|| text.lines().count());
    let near = |text: &str| text.lines().skip(line.saturating_sub(4)).take(12).collect::<Vec<_>>().join("\n");
    bail!(
        "{} differs at line {}; HOMEPORT_BLESS=1 writes it anew\n--- expected\n{}\n--- is\n{}",
        path.display(),
        line + 1,
        near(&expected),
        near(text)
    )
}
