//! What `cargo test` prints about tests that failed.

/// More of them nobody reads one by one.
const NAMED_MAX: usize = 200;

/// Picks the failed tests out of the lines.
#[derive(Default)]
pub(super) struct Failures {
    /// Each as what `cargo test` wants to run it again, or that of a whole program that died.
    pub(super) tests: Vec<String>,
    /// Within a list of names.
    listing: bool,
    /// Of the program that was the last to end; it is named after them.
    names: Vec<String>,
}

impl Failures {
    pub(super) fn see(&mut self, line: &str) {
        match line.trim_end() {
            "failures:" => self.listing = true,
            "" => self.listing = false,
            line => {
                if let Some(name) = line.strip_prefix("    ").filter(|_| self.listing) {
                    self.add(name);
                } else if let Some(target) = target(line) {
                    self.end_of(target);
                }
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
        self.tests.extend(self.names.drain(..).map(|name| format!("{target} {name}")));
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
    fn failed_tests_are_named_with_their_program() {
        let printed = "     Running unittests src/lib.rs (target/debug/deps/oci-817ceda6ce58a411)\n\
            \nrunning 3 tests\ntest a::ok ... ok\ntest a::bad ... FAILED\ntest b ... FAILED\n\
            \nfailures:\n\n---- a::bad stdout ----\n    indented\n\n---- b stdout ----\n\n\
            \nfailures:\n    a::bad\na line of somebody else\n    b\n\
            \ntest result: FAILED. 1 passed; 2 failed; 0 ignored\n\
            \nerror: test failed, to rerun pass `-p oci --lib`\n\
                 Running tests/two.rs (target/debug/deps/two-49eb4e6e9caad7ca)\n\nrunning 1 test\n\
            \x1b[1m\x1b[91merror\x1b[0m: test failed, to rerun pass `-p e2e --test two`\n\
            \nCaused by:\n  process didn't exit successfully: `two` (signal: 6, SIGABRT: process abort signal)\n\
            error: 2 targets failed:\n    `-p oci --lib`\n    `-p e2e --test two`\n";
        let mut failures = Failures::default();
        printed.lines().for_each(|line| failures.see(line));
        assert_eq!(failures.tests, ["-p oci --lib a::bad", "-p oci --lib b", "-p e2e --test two (died)"]);
    }
}
