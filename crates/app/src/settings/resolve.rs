//! From a checked document to [`Settings`].
//!
//! `check` has reported every value of the wrong type before; here such a value counts as left out, and only what takes more
//! than one key to see is reported. Nothing stops early, so that one run tells all mistakes.

mod access;
mod azure;
mod content;
mod gcs;
mod http;
mod kubernetes;
mod redirects;
mod s3;
mod storage;
mod swift;
mod tls;
mod users;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::document::Node;
use super::report::Report;
use super::resolved::{Auth, Driver, Level, Log, LogFormat, Settings, Storage};
use super::secret::Secret;
use super::value;

/// Reads a file that a setting names; a parameter, so that tests need no disk.
pub(crate) type ReadFile<'f> = &'f dyn Fn(&Path) -> std::io::Result<String>;

/// What the defaults are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    /// A configuration file: distribution's defaults.
    File,
    /// None: a registry for one person on one machine.
    ZeroConfig,
}

/// A document, read by key.
struct Context<'c> {
    root: &'c Node,
    base: Base,
    read_file: ReadFile<'c>,
    report: &'c mut Report,
}

pub(crate) fn resolve(root: &Node, base: Base, read_file: ReadFile<'_>, report: &mut Report) -> Settings {
    let ctx = &mut Context { root, base, read_file, report };
    version(ctx);
    let log = log(ctx);
    let storage = storage::storage(ctx);
    let http = http::http(ctx);
    let auth = access::auth(ctx);
    let (users, users_file) = users::users(ctx);
    let kubernetes = kubernetes::kubernetes(ctx, &auth, &http);
    let token = access::token(ctx);
    shared_secret(ctx, &storage, &token.secrets);
    let (delivery, life) = redirects::delivery(ctx, &storage.driver);
    let redirects = redirects::redirects(ctx, &storage.driver, &delivery, life);
    let authenticates = auth != Auth::None || kubernetes.is_some() || !users.is_empty();
    let anonymous = access::anonymous(ctx, authenticates, &http.listen);
    Settings {
        log,
        storage,
        anonymous,
        auth,
        kubernetes,
        users,
        users_file,
        token,
        limits: content::limits(ctx),
        health: content::health(ctx),
        validation: content::validation(ctx),
        pages: content::pages(ctx),
        tags: content::tags(ctx),
        redirects,
        delivery,
        metrics: access::metrics(ctx),
        audit: ctx.truth("openshift.audit.enabled").unwrap_or(false),
        http,
    }
}

fn version(ctx: &mut Context<'_>) {
    match ctx.text("version") {
        Some("0.1") => {}
        Some(_) => ctx.error("version", "is not supported; the only version is 0.1"),
        None if ctx.base == Base::File => ctx.error("version", "is missing; begin the file with `version: 0.1`"),
        None => {}
    }
    if ctx.text("openshift.version").is_some_and(|version| !matches!(version, "1.0" | "1")) {
        ctx.error("openshift.version", "is not supported; the only version is 1.0");
    }
}

/// On files a secret is made up and kept beside the data; in a bucket others could read it, and replicas must agree.
fn shared_secret(ctx: &mut Context<'_>, storage: &Storage, tokens: &[Secret]) {
    const KEY: &str = "http.secret";
    let key = match &storage.driver {
        Driver::S3(s3) => s3.secret_key.as_ref(),
        Driver::Gcs(gcs) => gcs.private_key.as_ref(),
        Driver::Azure(azure) => azure.account_key.as_ref(),
        Driver::Swift(swift) => swift.own_secret(),
        Driver::Filesystem { .. } => return,
    };
    let http = ctx.secret(KEY);
    let enough = |secret: &Secret| !secret.is_guessable();
    if http.as_ref().is_some_and(enough) || key.is_some_and(enough) || !tokens.is_empty() {
        return;
    }
    let what = if http.is_some() { "has less than 16 bytes and could be guessed" } else { "is missing" };
    ctx.error(
        KEY,
        format!("{what}: with a bucket the same one must be set in all replicas; make one with `openssl rand -hex 32`"),
    );
}

fn log(ctx: &mut Context<'_>) -> Log {
    let level = match ctx.word("log.level").or_else(|| ctx.word("loglevel")).as_deref() {
        Some("error") => Level::Error,
        Some("warn") => Level::Warn,
        Some("debug") => Level::Debug,
        Some("trace") => Level::Trace,
        _ => Level::Info,
    };
    let format = match ctx.word("log.formatter").as_deref() {
        Some("json") => LogFormat::Json,
        Some("logstash") => {
            ctx.warning("log.formatter", "logstash is written as json; the names of the fields differ");
            LogFormat::Json
        }
        _ => LogFormat::Text,
    };
    let mut fields = BTreeMap::new();
    for entry in ctx.root.find("log.fields").map(Node::entries).unwrap_or_default() {
        if let Some(text) = entry.node.text() {
            fields.insert(entry.key.clone(), text.to_owned());
        }
    }
    Log { level, format, fields, access: !ctx.truth("log.accesslog.disabled").unwrap_or(false) }
}

impl<'c> Context<'c> {
    /// The text of a key; `None` when it is empty or left out.
    fn text(&self, path: &str) -> Option<&'c str> {
        self.root.find(path).and_then(Node::text).filter(|text| !text.is_empty())
    }

    /// The text of a key with a fixed vocabulary, in lower case.
    fn word(&self, path: &str) -> Option<String> {
        self.text(path).map(str::to_ascii_lowercase)
    }

    fn truth(&self, path: &str) -> Option<bool> {
        self.text(path).and_then(|text| value::truth(text).ok())
    }

    fn count(&self, path: &str) -> Option<u64> {
        self.text(path).and_then(|text| value::count(text).ok())
    }

    /// A count for memory and sockets; more than the machine can address is as good as the most that it can.
    fn amount(&self, path: &str) -> Option<usize> {
        self.count(path).map(|count| usize::try_from(count).unwrap_or(usize::MAX))
    }

    fn secret(&self, path: &str) -> Option<Secret> {
        self.text(path).map(Secret::new)
    }

    fn path(&self, path: &str) -> Option<PathBuf> {
        self.text(path).map(PathBuf::from)
    }

    fn texts(&self, path: &str) -> Vec<String> {
        let items = self.root.find(path).map(Node::items).unwrap_or_default();
        items.iter().filter_map(Node::text).filter(|text| !text.is_empty()).map(str::to_owned).collect()
    }

    /// A duration that must have its unit.
    fn span(&self, path: &str) -> Option<Duration> {
        self.text(path).and_then(|text| value::span(text).ok())
    }

    /// A duration in distribution's reading, where a bare number is nanoseconds. That is hardly ever meant.
    fn duration(&mut self, path: &str) -> Option<Duration> {
        let text = self.text(path)?;
        let duration = value::duration(text).ok()?;
        if duration > Duration::ZERO && value::span(text).is_err() {
            self.warning(
                path,
                "has no unit and counts nanoseconds, as in distribution; write it with one, such as 10s",
            );
        }
        Some(duration)
    }

    /// The key is written, even if nothing is in it.
    fn has(&self, path: &str) -> bool {
        self.root.find(path).is_some()
    }

    fn error(&mut self, path: &str, message: impl Into<String>) {
        let origin = self.root.find(path).map(|node| &node.origin);
        self.report.error(origin, path, message);
    }

    fn warning(&mut self, path: &str, message: impl Into<String>) {
        let origin = self.root.find(path).map(|node| &node.origin);
        self.report.warning(origin, path, message);
    }

    /// Two keys that say the same are both written, and only one can count.
    fn shadowed(&mut self, loser: &str, winner: &str) {
        if self.text(loser).is_some() && self.text(winner).is_some() {
            self.warning(loser, format!("has no effect: {winner} is set as well, and wins"));
        }
    }
}
