//! What the conformance suites are told, and what they report.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

type Settings = Vec<(&'static str, String)>;

const REPOSITORIES: [&str; 2] = ["conformance/one", "conformance/two"];

/// The settings of suite 1.1.1: all four workflows, and mounting between repositories.
pub(crate) fn released(port: u16, reports: &Path) -> Settings {
    let mut settings = vec![
        ("OCI_ROOT_URL", format!("http://127.0.0.1:{port}")),
        ("OCI_NAMESPACE", REPOSITORIES[0].to_owned()),
        ("OCI_CROSSMOUNT_NAMESPACE", REPOSITORIES[1].to_owned()),
        // A mount without a source is answered with the blob, not with an upload.
        ("OCI_AUTOMATIC_CROSSMOUNT", "1".to_owned()),
        ("OCI_HIDE_SKIPPED_WORKFLOWS", "0".to_owned()),
        ("OCI_REPORT_DIR", reports.display().to_string()),
    ];
    for workflow in ["OCI_TEST_PULL", "OCI_TEST_PUSH", "OCI_TEST_CONTENT_DISCOVERY", "OCI_TEST_CONTENT_MANAGEMENT"] {
        settings.push((workflow, "1".to_owned()));
    }
    settings
}

/// Every option of the main branch's suite. All are named, so that no default of a later suite can
/// switch one off unnoticed.
const OPTIONS: &[&str] = &[
    "OCI_API_PING",
    "OCI_API_PULL",
    "OCI_API_PUSH",
    "OCI_API_BLOBS_ATOMIC",
    "OCI_API_BLOBS_DELETE",
    "OCI_API_BLOBS_DIGEST_HEADER",
    "OCI_API_BLOBS_MOUNT_ANONYMOUS",
    "OCI_API_BLOBS_UPLOAD_CANCEL",
    "OCI_API_MANIFESTS_ATOMIC",
    "OCI_API_MANIFESTS_DELETE",
    "OCI_API_MANIFESTS_DIGEST_HEADER",
    "OCI_API_MANIFESTS_TAG_PARAM",
    "OCI_API_TAGS_ATOMIC",
    "OCI_API_TAGS_DELETE",
    "OCI_API_TAGS_LIST",
    "OCI_API_REFERRER",
    "OCI_DATA_IMAGE",
    "OCI_DATA_INDEX",
    "OCI_DATA_INDEX_LIST",
    "OCI_DATA_SPARSE",
    "OCI_DATA_ARTIFACT",
    "OCI_DATA_SUBJECT",
    "OCI_DATA_SUBJECT_MISSING",
    "OCI_DATA_ARTIFACT_LIST",
    "OCI_DATA_SUBJECT_LIST",
    "OCI_DATA_DATA_FIELD",
    "OCI_DATA_NONDISTRIBUTABLE",
    "OCI_DATA_CUSTOM_FIELDS",
    "OCI_DATA_NO_LAYERS",
    "OCI_DATA_EMPTY_BLOB",
    "OCI_DATA_SHA512",
];

/// The settings of the main branch's suite.
pub(crate) fn main(port: u16, reports: &Path) -> Settings {
    let mut settings = vec![
        ("OCI_VERSION", "dev".to_owned()),
        ("OCI_REGISTRY", format!("127.0.0.1:{port}")),
        ("OCI_TLS", "disabled".to_owned()),
        ("OCI_REPO1", REPOSITORIES[0].to_owned()),
        ("OCI_REPO2", REPOSITORIES[1].to_owned()),
        ("OCI_RESULTS_DIR", reports.display().to_string()),
    ];
    settings.extend(OPTIONS.iter().map(|option| (*option, "true".to_owned())));
    settings
}

#[derive(Default, Debug, PartialEq)]
pub(crate) struct Report {
    passed: usize,
    skipped: Vec<String>,
    /// The name of the test and the first line of why.
    failed: Vec<(String, String)>,
}

impl Report {
    pub(crate) fn passed(&self) -> bool {
        self.failed.is_empty() && self.passed > 0
    }

    pub(crate) fn print(&self, suite: &str) {
        for (name, why) in &self.failed {
            println!("FAIL  {name}\n      {why}");
        }
        for name in &self.skipped {
            println!("skip  {name}");
        }
        let (passed, failed, skipped) = (self.passed, self.failed.len(), self.skipped.len());
        let all = passed + failed + skipped;
        println!("{suite}: {passed} passed, {failed} failed, {skipped} skipped of {all}");
    }
}

/// Reads the report that both suites write. A suite that failed to begin still ends with success,
/// so that only the report counts.
pub(crate) fn read(reports: &Path, printed: &str) -> Result<Report> {
    let path = reports.join("junit.xml");
    let Ok(text) = fs::read_to_string(&path) else {
        bail!("the suite wrote no report; it said: {}", printed.trim());
    };
    let report = parse(&text);
    if report == Report::default() {
        bail!("the suite's report names no test; it said: {}", printed.trim());
    }
    let keep = reports.join("output.txt");
    fs::write(&keep, printed).with_context(|| format!("write {}", keep.display()))?;
    Ok(report)
}

fn parse(junit: &str) -> Report {
    let mut report = Report::default();
    for case in junit.split("<testcase ").skip(1) {
        let case = case.split("</testcase>").next().unwrap_or(case);
        let head = case.split('>').next().unwrap_or(case);
        let name = attribute(head, "name").unwrap_or_default();
        match attribute(head, "status").as_deref() {
            Some("passed") => report.passed += 1,
            Some("skipped" | "pending" | "disabled") => report.skipped.push(name),
            _ => report.failed.push((name, reason(case))),
        }
    }
    report
}

fn reason(case: &str) -> String {
    let failure = case.split_once("<failure ").and_then(|(_, rest)| attribute(rest, "message"));
    let printed = || case.split_once("<system-out>").and_then(|(_, rest)| rest.split_once("</system-out>"));
    let text = failure.filter(|text| !text.is_empty());
    let text = text.or_else(|| printed().map(|(text, _)| unescape(text))).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect();
    lines.join("; ")
}

fn attribute(text: &str, name: &str) -> Option<String> {
    let start = text.find(&format!("{name}=\""))? + name.len() + 2;
    let rest = text.get(start..)?;
    rest.split('"').next().map(unescape)
}

fn unescape(text: &str) -> String {
    let marks = [
        ("&#xA;", "\n"),
        ("&#x9;", "\t"),
        ("&#39;", "'"),
        ("&#34;", "\""),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&amp;", "&"),
    ];
    marks.iter().fold(text.to_owned(), |text, (mark, character)| text.replace(mark, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_reports_are_understood() {
        let text = r#"<testsuites><testsuite name="x" tests="3">
            <testcase name="push &#34;a&#34;" classname="" status="passed" time="0.1"></testcase>
            <testcase name="cancel" status="skipped"></testcase>
            <testcase name="blob" status="failed"><failure message="Expected&#xA;  200">x</failure></testcase>
            <testcase name="index" status="failure"><system-out>status 500 &lt; 600</system-out></testcase>
            </testsuite></testsuites>"#;
        let report = parse(text);
        assert_eq!(report.passed, 1);
        assert_eq!(report.skipped, ["cancel"]);
        let failed = [("blob", "Expected; 200"), ("index", "status 500 < 600")];
        assert_eq!(report.failed, failed.map(|(name, why)| (name.to_owned(), why.to_owned())));
        assert!(!report.passed());
    }

    #[test]
    fn no_report_is_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(folder.path(), "failed to load config").unwrap_err().to_string().contains("failed to load"));
        fs::write(folder.path().join("junit.xml"), "<testsuites></testsuites>").unwrap();
        assert!(read(folder.path(), "").is_err());
    }
}
