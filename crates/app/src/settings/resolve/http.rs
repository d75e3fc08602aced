//! Listeners and what they answer with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::{Base, Context, tls};
use crate::settings::document::Node;
use crate::settings::resolved::{Debugging, Http, Listen};

/// Between OpenShift's delay before a stop (25 s) and its limit (55 s).
const DRAIN: Duration = Duration::from_secs(30);

pub(super) fn http(ctx: &mut Context<'_>) -> Http {
    Http {
        listen: listen(ctx),
        prefix: prefix(ctx),
        host: host(ctx),
        secret: ctx.secret("http.secret"),
        relative_urls: ctx.truth("http.relativeurls").unwrap_or(false),
        drain_timeout: ctx.duration("http.draintimeout").unwrap_or(DRAIN),
        tls: tls::tls(ctx),
        headers: headers(ctx),
        debug: debug(ctx),
        http2: !ctx.truth("http.http2.disabled").unwrap_or(false),
        h2c: ctx.truth("http.h2c.enabled").unwrap_or(false),
    }
}

fn listen(ctx: &mut Context<'_>) -> Listen {
    let default = if ctx.base == Base::File { ":5000" } else { "127.0.0.1:5000" };
    if ctx.word("http.net").as_deref() == Some("unix") {
        let path = ctx.path("http.addr");
        if path.is_none() {
            ctx.error("http.addr", "must be the path of the socket, since http.net is unix");
        }
        return Listen::Unix(path.unwrap_or_default());
    }
    tcp(ctx, "http.addr", default)
}

pub(super) fn tcp(ctx: &mut Context<'_>, key: &str, default: &str) -> Listen {
    let text = ctx.text(key).unwrap_or(default);
    parse_tcp(text).unwrap_or_else(|| {
        ctx.error(key, "must be HOST:PORT or :PORT, such as 127.0.0.1:5000, [::1]:5000 or :5000");
        Listen::Tcp { host: String::new(), port: 0 }
    })
}

fn parse_tcp(text: &str) -> Option<Listen> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(rest) => {
            let host = rest.strip_suffix(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            host
        }
        None => host,
    };
    let bracketed = text.starts_with('[');
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !bracketed && !host.chars().all(known) || !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(Listen::Tcp { host: host.to_owned(), port: port.parse().ok()? })
}

fn prefix(ctx: &mut Context<'_>) -> String {
    let Some(prefix) = ctx.text("http.prefix") else { return "/".to_owned() };
    let valid = prefix.starts_with('/') && prefix.ends_with('/') && !prefix.contains("//");
    if !valid || !prefix.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'%' | b'"' | b'\\')) {
        ctx.error("http.prefix", "must begin and end with a slash, such as /registry/");
    }
    prefix.to_owned()
}

fn host(ctx: &mut Context<'_>) -> Option<String> {
    let host = ctx.text("http.host")?;
    if !is_url(host) {
        ctx.error("http.host", "must be the public URL, such as https://registry.example.com:5000");
    }
    Some(host.trim_end_matches('/').to_owned())
}

/// An absolute URL of a web server, without user, query or fragment.
pub(super) fn is_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    !authority.is_empty()
        && !authority.starts_with(':')
        && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'@' | b'"' | b'\\' | b'<' | b'>'))
}

/// Where a service is: a host or a URL, as it is written. `example` goes into the complaint about anything else.
pub(super) fn service_address(ctx: &mut Context<'_>, key: &str, example: &str) -> Option<String> {
    let text = ctx.text(key)?;
    let url = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    if !is_url(&url) {
        ctx.error(key, format!("must be a host or a URL, such as {example}"));
    }
    Some(text.to_owned())
}

fn headers(ctx: &mut Context<'_>) -> BTreeMap<String, Vec<String>> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in ctx.root.find("http.headers").map(Node::entries).unwrap_or_default() {
        let key = format!("http.headers.{}", entry.key);
        if entry.key.is_empty() || !entry.key.chars().all(token) {
            ctx.report.error(Some(&entry.node.origin), key, "is not a name that a header may have");
            continue;
        }
        for value in entry.node.items().iter().filter_map(Node::text) {
            if value.bytes().all(|b| b == b'\t' || (0x20..0x7f).contains(&b)) {
                headers.entry(entry.key.to_ascii_lowercase()).or_default().push(value.to_owned());
            } else {
                ctx.report.error(Some(&entry.node.origin), key.clone(), "has a character that a header may not have");
            }
        }
    }
    headers
}

fn debug(ctx: &mut Context<'_>) -> Option<Debugging> {
    let metrics = ctx.truth("http.debug.prometheus.enabled").unwrap_or(false);
    if ctx.text("http.debug.addr").is_none() {
        if metrics {
            ctx.error("http.debug.prometheus.enabled", "needs a listener; set http.debug.addr, such as localhost:5001");
        }
        return None;
    }
    let path = ctx.text("http.debug.prometheus.path").unwrap_or("/metrics");
    if !path.starts_with('/') {
        ctx.error("http.debug.prometheus.path", "must begin with a slash, such as /metrics");
    }
    Some(Debugging { listen: tcp(ctx, "http.debug.addr", ""), metrics_path: metrics.then(|| path.to_owned()) })
}

impl Listen {
    /// Only programs on the same machine can connect.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Unix(path) => *path != PathBuf::new(),
            Self::Tcp { host, .. } => {
                host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}
