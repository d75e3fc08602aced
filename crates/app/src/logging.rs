//! Log lines: `key=value` as distribution writes them, or JSON.

use crate::settings::{Level, Log, LogFormat};
use std::fmt::{self, Write};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

/// Changes the level while the program runs.
pub(crate) struct Logging {
    filter: reload::Handle<Targets, tracing_subscriber::Registry>,
}

impl Logging {
    /// Starts logging to standard error.
    pub(crate) fn start(log: &Log) -> anyhow::Result<Self> {
        let (filter, handle) = reload::Layer::new(targets(log));
        let format = Lines { json: log.format == LogFormat::Json, fields: log.fields.clone().into_iter().collect() };
        let layer = tracing_subscriber::fmt::layer().event_format(format).with_writer(std::io::stderr).with_ansi(false);
        tracing_subscriber::registry().with(filter).with(layer).try_init()?;
        Ok(Self { filter: handle })
    }

    /// Takes another level.
    pub(crate) fn reload(&self, log: &Log) {
        // Fails only when the subscriber is gone, at the very end.
        drop(self.filter.reload(targets(log)));
    }
}

fn targets(log: &Log) -> Targets {
    let level = match log.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    // Other people's crates are only interesting when they complain.
    let others = level.min(LevelFilter::WARN);
    let mut targets = Targets::new().with_default(others);
    for ours in ["homeport", "bucket", "cluster", "content", "net", "operator", "registry", "storage", "audit"] {
        targets = targets.with_target(ours, level);
    }
    // It complains of every call that fails, as who called does, and quotes answers, which may hold tokens.
    targets.with_target("kube_client", LevelFilter::OFF).with_target("access", level)
}

struct Lines {
    json: bool,
    fields: Vec<(String, String)>,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        let mut line = Line { json: self.json, text: String::with_capacity(256), message: String::new() };
        event.record(&mut line);
        let Line { text: rest, message, .. } = line;
        let mut head = Line { json: self.json, text: String::with_capacity(128), message: String::new() };
        head.text("time", &time);
        head.text("level", &level);
        head.text("msg", &message);
        for (name, value) in &self.fields {
            head.text(name, value);
        }
        if self.json {
            writeln!(writer, "{{{}{}}}", head.text.trim_start_matches(','), rest)
        } else {
            writeln!(writer, "{}{rest}", head.text.trim_start())
        }
    }
}

/// Fields, each with its separator in front.
struct Line {
    json: bool,
    text: String,
    message: String,
}

impl Line {
    fn text(&mut self, name: &str, value: &str) {
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '"' && c != '=';
        if !self.json && !value.is_empty() && value.chars().all(plain) {
            self.raw(name, value);
        } else {
            self.raw(name, &quote(value));
        }
    }

    fn raw(&mut self, name: &str, value: &str) {
        // Writing to a string cannot fail.
        let _ = if self.json {
            write!(self.text, ",{}:{value}", quote(name))
        } else {
            write!(self.text, " {name}={value}")
        };
    }
}

/// A JSON string; log readers of the other format take the same escapes.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else if !value.is_empty() {
            self.text(field.name(), value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.text(field.name(), &text);
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.raw(field.name(), &format!("{value:.3}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.raw(field.name(), &value.to_string());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.raw(field.name(), &value.to_string());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.raw(field.name(), if value { "true" } else { "false" });
    }
}
