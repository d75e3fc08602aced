//! What `cargo test` prints about tests that failed.

use std::collections::HashMap;

/// More of them nobody reads one by one.
const NAMED_MAX: usize = 200;
/// Lines of a test about why it failed: where it panicked and what it said.
const REASON_MAX: usize = 8;

/// Picks the failed tests out of the lines.
#[derive(Default)]
pub(super) struct Failures {
    /// Each as what `cargo test` wants to run it again, or that of a whole program that died, with the reason below it.
    pub(super) tests: Vec<String>,
    /// Within a list of names.
    listing: bool,
    /// Of the program that was the last to end; it is named after them.
    names: Vec<String>,
    /// Why they failed, by name.
    reasons: HashMap<String, Vec<String>>,
    /// The test whose output this is.
    output_of: Option<String>,
    /// Within what a panic said.
    panicking: bool,
}

impl Failures {
    pub(super) fn see(&mut self, line: &str) {
        match line.trim_end() {
            "failures:" => {
                self.listing = true;
                self.output_of = None;
            }
            "" => {
                self.listing = false;
                self.panicking = false;
            }
            line => {
                self.see_reason(line);
                if let Some(name) = line.strip_prefix("    ").filter(|_| self.listing) {
                    self.add(name);
                } else if let Some(target) = target(line) {
                    self.end_of(target);
                }
            }
        }
    }

    fn see_reason(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" stdout ----")) {
            self.output_of = Some(name.to_owned());
            self.panicking = false;
        } else if let Some(name) = &self.output_of {
            self.panicking |= line.starts_with("thread '") && line.contains(" panicked at ");
            self.panicking &= line != "stack backtrace:" && !line.starts_with("note: ");
            let known = self.reasons.len() < NAMED_MAX || self.reasons.contains_key(name);
            if self.panicking && known {
                let reason = self.reasons.entry(name.clone()).or_default();
                reason.extend((reason.len() < REASON_MAX).then(|| line.to_owned()));
            }
        }
    }

    fn add(&mut self, name: &str) {
        if self.tests.len() + self.names.len() < NAMED_MAX {
            self.names.push(name.to_owned());
        }
    }

    fn end_of(&mut self, target: &str) {
        if self.names.is_empty() {
            self.add("(died)");
        }
        for name in self.names.drain(..) {
            self.tests.push(format!("{target} {name}"));
            let reason = self.reasons.remove(&name).unwrap_or_default();
            self.tests.extend(reason.into_iter().map(|line| format!("    {line}")));
        }
        self.reasons.clear();
    }
}

/// Cargo's line about a program that failed; `error` may be coloured.
fn target(line: &str) -> Option<&str> {
    line.split_once(": test failed, to rerun pass `")?.1.strip_suffix('`')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_tests_are_named_with_their_program_and_reason() {
        let printed = "     Running unittests src/lib.rs (target/debug/deps/oci-817ceda6ce58a411)\n\
            \nrunning 3 tests\ntest a::ok ... ok\ntest a::bad ... FAILED\ntest b ... FAILED\n\
            \nfailures:\n\n---- a::bad stdout ----\n    indented\n\n\
            thread 'a::bad' (7) panicked at src/a.rs:3:9:\nassertion failed\n  left: 1\nstack backtrace:\n   0: main\n\
            \n---- b stdout ----\n\n\
            \nfailures:\n    a::bad\na line of somebody else\n    b\n\
            \ntest result: FAILED. 1 passed; 2 failed; 0 ignored\n\
            \nerror: test failed, to rerun pass `-p oci --lib`\n\
                 Running tests/two.rs (target/debug/deps/two-49eb4e6e9caad7ca)\n\nrunning 1 test\n\
            \x1b[1m\x1b[91merror\x1b[0m: test failed, to rerun pass `-p e2e --test two`\n\
            \nCaused by:\n  process didn't exit successfully: `two` (signal: 6, SIGABRT: process abort signal)\n\
            error: 2 targets failed:\n    `-p oci --lib`\n    `-p e2e --test two`\n";
        let mut failures = Failures::default();
        printed.lines().for_each(|line| failures.see(line));
        let expected = [
            "-p oci --lib a::bad",
            "    thread 'a::bad' (7) panicked at src/a.rs:3:9:",
            "    assertion failed",
            "      left: 1",
            "-p oci --lib b",
            "-p e2e --test two (died)",
        ];
        assert_eq!(failures.tests, expected);
    }
}
