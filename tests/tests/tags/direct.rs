//! The API without the cluster between, with curl as the client.

use anyhow::{Context, Result, ensure};
use e2e::kube::collect;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

/// A way to one server.
pub(crate) struct Direct {
    base: String,
    authority: PathBuf,
    arguments: Vec<String>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// Checks that it is an error as Kubernetes has them.
    #[track_caller]
    pub(crate) fn is_failure(&self, status: u16, reason: &str) {
        let body = self.json();
        let is = (self.status, &body["kind"], &body["status"], &body["code"], &body["reason"]);
        assert_eq!(
            is,
            (status, &Value::from("Status"), &"Failure".into(), &status.into(), &reason.into()),
            "{}",
            self.text
        );
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{}", self.text);
    }
}

impl Direct {
    pub(crate) fn new(address: &str, authority: &Path) -> Self {
        Self { base: format!("https://{address}"), authority: authority.to_owned(), arguments: Vec::new() }
    }

    /// The same with more arguments for curl.
    pub(crate) fn with(&self, arguments: &[&str]) -> Self {
        let more = arguments.iter().map(|argument| (*argument).to_owned());
        let arguments = self.arguments.iter().cloned().chain(more).collect();
        Self { base: self.base.clone(), authority: self.authority.clone(), arguments }
    }

    pub(crate) fn token(&self, token: &str) -> Self {
        self.with(&["--header", &format!("Authorization: Bearer {token}")])
    }

    fn command(&self, path: &str) -> Command {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--globoff", "--cacert"]).arg(&self.authority);
        command.args(&self.arguments).arg(format!("{}{path}", self.base)).stdin(Stdio::null());
        command
    }

    pub(crate) fn get(&self, path: &str) -> Result<Reply> {
        let output = self.command(path).args(["--max-time", "60", "--dump-header", "-"]).output().context("curl")?;
        ensure!(output.status.success(), "curl {path}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (headers, text) = text.split_once("\r\n\r\n").context("a head")?;
        let status = headers.split(' ').nth(1).and_then(|status| status.trim().parse().ok()).context("a status")?;
        Ok(Reply { status, headers: headers.to_owned(), text: text.to_owned() })
    }

    /// Follows what the server sends.
    pub(crate) fn stream(&self, path: &str) -> Result<Stream> {
        Stream::start(self.command(path).arg("--no-buffer"))
    }
}

/// A program that says a line for each event; ended with this value.
pub(crate) struct Stream {
    child: Child,
    said: Arc<Mutex<String>>,
    errors: Arc<Mutex<String>>,
}

impl Stream {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("start")?;
        let said = collect(child.stdout.take().context("no output")?);
        let errors = collect(child.stderr.take().context("no errors")?);
        Ok(Self { child, said, errors })
    }

    /// All that was said so far.
    pub(crate) fn text(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn complaints(&self) -> String {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whole lines that are JSON.
    pub(crate) fn events(&self) -> Vec<Value> {
        let text = self.text();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// `TYPE repository:tag` of each event; `TYPE` alone for those that are about no tag.
    pub(crate) fn brief(&self) -> Vec<String> {
        self.events().iter().map(brief).collect()
    }

    /// The same of these namespaces alone.
    pub(crate) fn brief_of(&self, namespaces: &[&str]) -> Vec<String> {
        let is_of = |event: &&Value| {
            event["object"]["metadata"]["namespace"].as_str().is_some_and(|name| namespaces.contains(&name))
        };
        self.events().iter().filter(is_of).map(brief).collect()
    }

    /// Whether it has ended by itself, and all that it said is here.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        // The readers end with its output, and hold what they write to until then.
        let all_read = Arc::strong_count(&self.said) == 1 && Arc::strong_count(&self.errors) == 1;
        Ok(self.child.try_wait()?.is_some() && all_read)
    }
}

fn brief(event: &Value) -> String {
    let (kind, status) = (event["type"].as_str().unwrap_or_default(), &event["object"]["status"]);
    match (status["repository"].as_str(), status["tag"].as_str()) {
        (Some(repository), Some(tag)) => format!("{kind} {repository}:{tag}"),
        _ => kind.to_owned(),
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
