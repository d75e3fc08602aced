//! What a copy came to, for a person or a program.

use std::fmt::Write;
use std::path::Path;
use transfer::{Finding, Kind, Report};

/// Findings of a kind that a person is shown; JSON has more.
const SHOWN_MAX: usize = 20;

pub(super) fn text(report: &Report, dry_run: bool, to: &Path) -> String {
    let (copied, removed) = if dry_run { ("to copy:  ", "to remove:") } else { ("copied:   ", "removed:  ") };
    let mut out = String::new();
    line(
        &mut out,
        &format!(
            "{copied} {} blobs ({}), {} links and records, {} tags",
            count(report.blobs_copied),
            bytes(report.bytes_copied),
            count(report.links_copied),
            count(report.tags_copied)
        ),
    );
    line(
        &mut out,
        &format!(
            "there:     {} blobs, {} links and records, {} tags",
            count(report.blobs_there),
            count(report.links_there),
            count(report.tags_there)
        ),
    );
    if report.removed > 0 {
        line(&mut out, &format!("{removed} {} repositories, tags, links and records", count(report.removed)));
    }
    if report.repositories_held > 0 {
        line(
            &mut out,
            &format!(
                "{} repositories keep manifests and blobs that are gone at the source: clients changed them meanwhile, which the\n\
                 next run sees, or what the destination has whole is damaged at the source",
                count(report.repositories_held)
            ),
        );
    }
    for (kind, number, what) in [
        (Kind::Unknown, report.unknown, "names at the source that are none of a registry's, not copied"),
        (Kind::Dangling, report.dangling, "links that lead nowhere at the source, not copied; nobody could use them"),
        (Kind::Broken, report.broken, "BROKEN blobs at the source, not copied"),
    ] {
        findings(&mut out, report, kind, number, what);
    }
    line(&mut out, &next(report, dry_run, to));
    out
}

fn next(report: &Report, dry_run: bool, to: &Path) -> String {
    if !report.is_complete() {
        return "\nNot complete. Push the images of the broken blobs again, or bring the files back from a backup, and run this \
                again. Nothing at the destination refers to them."
            .to_owned();
    }
    if dry_run {
        return "\nNothing was changed.".to_owned();
    }
    format!(
        "\nComplete, as of the begin of this run. If the source was writable meanwhile: stop the registry or set it\n\
         read-only and run this once more. Then start it with {}.",
        to.display()
    )
}

fn findings(out: &mut String, report: &Report, kind: Kind, number: u64, what: &str) {
    if number == 0 {
        return;
    }
    line(out, &format!("\n{} {what}:", count(number)));
    let of_kind = |finding: &&Finding| finding.kind == kind;
    for Finding { key, text, .. } in report.findings.iter().filter(of_kind).take(SHOWN_MAX) {
        line(out, &if text.is_empty() { format!("  {key}") } else { format!("  {key}: {text}") });
    }
    if number > SHOWN_MAX as u64 {
        line(out, "  …");
    }
}

pub(super) fn json(report: &Report) -> anyhow::Result<String> {
    #[derive(serde::Serialize)]
    struct Outcome<'a> {
        complete: bool,
        #[serde(flatten)]
        report: &'a Report,
    }
    let outcome = Outcome { complete: report.is_complete(), report };
    Ok(serde_json::to_string(&outcome)? + "\n")
}

fn line(out: &mut String, line: &str) {
    // Writing to a text does not fail.
    let _ = writeln!(out, "{line}");
}

/// With a comma after each thousand.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// In the largest unit of which there is one.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    let (mut unit, mut tenths) = (0, u128::from(number) * 10 / 1024);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
        for (number, text) in
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536 << 20, "1.5 GiB"), (5 << 50, "5120.0 TiB")]
        {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn broken_blobs_are_named_and_the_end_says_so() {
        let finding = Finding { kind: Kind::Broken, key: "a/data".into(), text: "has other bytes".into() };
        let report = Report { broken: 1, blobs_copied: 2, findings: vec![finding], ..Report::default() };
        let said = text(&report, false, Path::new("new.yml"));
        assert!(said.contains("1 BROKEN blobs") && said.contains("  a/data: has other bytes\n"), "{said}");
        assert!(said.contains("Not complete") && !said.contains("Then start"), "{said}");
        let value: serde_json::Value = serde_json::from_str(&json(&report).unwrap()).unwrap();
        assert_eq!((&value["complete"], &value["findings"][0]["kind"]), (&false.into(), &"broken".into()));
    }
}
