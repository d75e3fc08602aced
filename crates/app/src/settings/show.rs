//! Resolved settings as a flat list of keys, for `config check` and for comparing two of them.
//!
//! Every structure is taken apart by name, so a new field cannot be forgotten here.

mod azure;
mod gcs;
mod redirects;
mod s3;
mod swift;

use super::document::{Entry, Node, Origin, Value};
use super::resolved::{
    Anonymous, Api, Auth, ClientAuth, Driver, Health, Http, IndexRules, Kubernetes, Level, Limits, Listen, Log,
    LogFormat, Metrics, MetricsAccess, Pages, ProjectAccess, RequestLimit, RightsFrom, Settings, Storage, Tags, Tls,
    TlsVersion, Token, TokenRealm, Uploads, UrlRules, User, Validation,
};
use super::value::show_duration;

/// A value as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shown {
    Text(String),
    List(Vec<String>),
    /// Compared by what it is, shown as `***`.
    Secret(String),
    Secrets(Vec<String>),
}

/// The path in pieces, since a name that the operator chose may hold dots.
pub(super) type Line = (Vec<String>, Shown);

struct Lines(Vec<Line>);

impl Lines {
    fn at(&mut self, path: &str, shown: Shown) {
        self.0.push((path.split('.').map(str::to_owned).collect(), shown));
    }

    fn below(&mut self, path: &str, name: &str, rest: &str, shown: Shown) {
        let rest = rest.split('.').filter(|part| !part.is_empty());
        self.0.push((path.split('.').chain([name]).chain(rest).map(str::to_owned).collect(), shown));
    }

    fn put(&mut self, path: &str, value: impl ToString) {
        self.at(path, Shown::Text(value.to_string()));
    }

    fn list<T: ToString>(&mut self, path: &str, values: impl IntoIterator<Item = T>) {
        self.at(path, Shown::List(values.into_iter().map(|value| value.to_string()).collect()));
    }
}

pub(super) fn lines(settings: &Settings) -> Vec<Line> {
    let Settings {
        log,
        storage,
        http,
        auth,
        kubernetes,
        anonymous,
        users,
        users_file,
        token,
        limits,
        health,
        validation,
        pages,
        tags: Tags { immutable },
        redirects,
        delivery,
        metrics,
        audit,
    } = settings;
    let mut out = Lines(Vec::new());
    out.put("version", "0.1");
    show_log(&mut out, log);
    show_storage(&mut out, storage);
    show_http(&mut out, http);
    show_health(&mut out, health);
    show_validation(&mut out, validation);
    let Pages { catalog_max, tags_max } = pages;
    out.put("catalog.maxentries", catalog_max);
    out.put("tags.maxtags", tags_max);
    if !immutable.is_empty() {
        out.list("homeport.tags.immutable", immutable);
    }
    match auth {
        // What that means is said by homeport.anonymous and homeport.users.
        Auth::None => {}
        Auth::Htpasswd { realm, path } => {
            out.put("auth.htpasswd.realm", realm);
            out.put("auth.htpasswd.path", path.display());
        }
        Auth::OpenShift { realm } => out.put("auth.openshift.realm", realm),
    }
    let anonymous = match anonymous {
        Anonymous::None => "none",
        Anonymous::Pull => "pull",
        Anonymous::All => "all",
    };
    out.put("homeport.anonymous", anonymous);
    for (name, user) in users {
        show_user(&mut out, name, user);
    }
    if let Some(file) = users_file {
        out.put("homeport.usersFile", file.display());
    }
    if let Some(kubernetes) = kubernetes {
        show_kubernetes(&mut out, kubernetes);
    }
    redirects::show(&mut out, redirects, delivery, &storage.driver);
    show_token(&mut out, token);
    show_limits(&mut out, limits);
    show_metrics(&mut out, metrics);
    out.put("openshift.audit.enabled", audit);
    out.0
}

fn show_kubernetes(out: &mut Lines, kubernetes: &Kubernetes) {
    let Kubernetes {
        kubeconfig,
        context,
        audiences,
        rights,
        catalog_filtered,
        token_ttl,
        negative_ttl,
        stale_for,
        hosts,
        pull_secret_lifetime,
        cleanup,
        namespace,
        api,
    } = kubernetes;
    out.put("homeport.kubernetes.enabled", true);
    if let Some(file) = kubeconfig {
        out.put("homeport.kubernetes.kubeconfig", file.display());
    }
    if let Some(context) = context {
        out.put("homeport.kubernetes.context", context);
    }
    out.list("homeport.kubernetes.audiences", audiences);
    let rights = match rights {
        RightsFrom::Rbac => "rbac",
        RightsFrom::Review => "review",
    };
    out.put("homeport.kubernetes.authorization", rights);
    out.put("homeport.kubernetes.catalog", if *catalog_filtered { "filtered" } else { "open" });
    out.put("homeport.kubernetes.tokenTTL", show_duration(*token_ttl));
    out.put("homeport.kubernetes.negativeTTL", show_duration(*negative_ttl));
    out.put("homeport.kubernetes.staleFor", show_duration(*stale_for));
    out.list("homeport.kubernetes.hosts", hosts);
    out.put("homeport.kubernetes.pullSecrets.lifetime", show_duration(*pull_secret_lifetime));
    out.put("homeport.kubernetes.cleanup.enabled", cleanup.is_some());
    if let Some(interval) = cleanup {
        out.put("homeport.kubernetes.cleanup.interval", show_duration(*interval));
    }
    if let Some(namespace) = namespace {
        out.put("homeport.kubernetes.namespace", namespace);
    }
    if let Some(Api { listen, certificate, key, host }) = api {
        out.put("homeport.kubernetes.api.addr", listen);
        out.put("homeport.kubernetes.api.certificate", certificate.display());
        out.put("homeport.kubernetes.api.key", key.display());
        out.put("homeport.kubernetes.api.host", host);
    }
}

fn show_log(out: &mut Lines, Log { level, format, fields, access }: &Log) {
    let level = match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    out.put("log.level", level);
    out.put("log.formatter", if *format == LogFormat::Json { "json" } else { "text" });
    for (name, value) in fields {
        out.below("log.fields", name, "", Shown::Text(value.clone()));
    }
    out.put("log.accesslog.disabled", !access);
}

fn show_storage(out: &mut Lines, storage: &Storage) {
    let Storage { driver, delete, redirect, read_only, uploads, cache_entries } = storage;
    match driver {
        Driver::Filesystem { root } => out.put("storage.filesystem.rootdirectory", root.display()),
        Driver::S3(s3) => s3::show(out, s3),
        Driver::Gcs(gcs) => gcs::show(out, gcs),
        Driver::Azure(azure) => azure::show(out, azure),
        Driver::Swift(swift) => swift::show(out, swift),
    }
    out.put("storage.delete.enabled", delete);
    out.put("storage.redirect.disable", !redirect);
    let Uploads { purge, expiry, interval, dry_run } = uploads;
    out.put("storage.maintenance.uploadpurging.enabled", purge);
    out.put("storage.maintenance.uploadpurging.age", show_duration(*expiry));
    out.put("storage.maintenance.uploadpurging.interval", show_duration(*interval));
    out.put("storage.maintenance.uploadpurging.dryrun", dry_run);
    out.put("storage.maintenance.readonly.enabled", read_only);
    out.put("storage.cache.blobdescriptorsize", cache_entries);
}

fn show_http(out: &mut Lines, http: &Http) {
    let Http { listen, prefix, host, secret, relative_urls, drain_timeout, tls, headers, debug, http2, h2c } = http;
    out.put("http.addr", listen);
    out.put("http.net", if matches!(listen, Listen::Unix(_)) { "unix" } else { "tcp" });
    out.put("http.prefix", prefix);
    if let Some(host) = host {
        out.put("http.host", host);
    }
    if let Some(secret) = secret {
        out.at("http.secret", Shown::Secret(secret.expose().to_owned()));
    }
    out.put("http.relativeurls", relative_urls);
    out.put("http.draintimeout", show_duration(*drain_timeout));
    for (name, values) in headers {
        out.below("http.headers", name, "", Shown::List(values.clone()));
    }
    out.put("http.http2.disabled", !http2);
    out.put("http.h2c.enabled", h2c);
    if let Some(tls) = tls {
        show_tls(out, tls);
    }
    if let Some(debug) = debug {
        out.put("http.debug.addr", &debug.listen);
        out.put("http.debug.prometheus.enabled", debug.metrics_path.is_some());
        if let Some(path) = &debug.metrics_path {
            out.put("http.debug.prometheus.path", path);
        }
    }
}

fn show_tls(out: &mut Lines, Tls { certificate, key, clients, minimum, cipher_suites }: &Tls) {
    out.put("http.tls.certificate", certificate.display());
    out.put("http.tls.key", key.display());
    if let Some(clients) = clients {
        out.list("http.tls.clientcas", clients.authorities.iter().map(|path| path.display()));
        let mode = match clients.mode {
            ClientAuth::Request => "request-client-cert",
            ClientAuth::RequireAny => "require-any-client-cert",
            ClientAuth::VerifyIfGiven => "verify-client-cert-if-given",
            ClientAuth::RequireAndVerify => "require-and-verify-client-cert",
        };
        out.put("http.tls.clientauth", mode);
    }
    out.put("http.tls.minimumtls", if *minimum == TlsVersion::V13 { "tls1.3" } else { "tls1.2" });
    if let Some(suites) = cipher_suites {
        out.list("http.tls.ciphersuites", suites);
    }
}

fn show_health(out: &mut Lines, Health { storage, files }: &Health) {
    out.put("health.storagedriver.enabled", storage.is_some());
    if let Some(probe) = storage {
        out.put("health.storagedriver.interval", show_duration(probe.interval));
        out.put("health.storagedriver.threshold", probe.threshold);
    }
    for (index, (file, probe)) in files.iter().enumerate() {
        let index = index.to_string();
        out.below("health.file", &index, "file", Shown::Text(file.display().to_string()));
        out.below("health.file", &index, "interval", Shown::Text(show_duration(probe.interval)));
        out.below("health.file", &index, "threshold", Shown::Text(probe.threshold.to_string()));
    }
}

fn show_validation(out: &mut Lines, Validation { urls, indexes, blobs_required }: &Validation) {
    out.put("homeport.missingBlobs", if *blobs_required { "refuse" } else { "accept" });
    if let UrlRules::Rules { allow, deny } = urls {
        out.list("validation.manifests.urls.allow", allow);
        out.list("validation.manifests.urls.deny", deny);
    }
    let platforms = match indexes {
        IndexRules::All => "all",
        IndexRules::None => "none",
        IndexRules::Platforms(_) => "list",
    };
    out.put("validation.manifests.indexes.platforms", platforms);
    if let IndexRules::Platforms(platforms) = indexes {
        for (index, platform) in platforms.iter().enumerate() {
            const LIST: &str = "validation.manifests.indexes.platformlist";
            out.below(LIST, &index.to_string(), "os", Shown::Text(platform.os.clone()));
            out.below(LIST, &index.to_string(), "architecture", Shown::Text(platform.architecture.clone()));
        }
    }
}

fn show_user(out: &mut Lines, name: &str, User { password_hash, projects }: &User) {
    out.below("homeport.users", name, "passwordHash", Shown::Secret(password_hash.expose().to_owned()));
    for (index, project) in projects.iter().enumerate() {
        let access = if project.access == ProjectAccess::Full { "FULL" } else { "READ" };
        for (field, value) in [("name", project.name.as_str()), ("subPath", &project.sub_path), ("access", access)] {
            out.below("homeport.users", name, &format!("projects.{index}.{field}"), Shown::Text(value.to_owned()));
        }
    }
}

fn show_token(out: &mut Lines, token: &Token) {
    let Token { secrets, secret_files, expiry, refresh_expiry, realm, service } = token;
    if !secrets.is_empty() {
        let secrets = secrets.iter().map(|secret| secret.expose().to_owned()).collect();
        out.at("homeport.token.secrets", Shown::Secrets(secrets));
    }
    if !secret_files.is_empty() {
        out.list("homeport.token.secretFiles", secret_files.iter().map(|file| file.display()));
    }
    out.put("homeport.token.expiry", show_duration(*expiry));
    out.put("homeport.token.refreshExpiry", show_duration(*refresh_expiry));
    match realm {
        Some(TokenRealm::Url(url)) => out.put("homeport.token.realm", url),
        Some(TokenRealm::Host(host)) => out.put("openshift.auth.tokenrealm", host),
        None => {}
    }
    out.put("homeport.token.service", service);
}

fn show_limits(out: &mut Lines, limits: &Limits) {
    let Limits { read, write, connections_max, manifest_bytes_max, upload_bytes_max, body_idle } = limits;
    for (class, limit) in [("read", read), ("write", write)] {
        let none = RequestLimit { running_max: 0, queue_max: 0, wait_max: None };
        let RequestLimit { running_max, queue_max, wait_max } = limit.unwrap_or(none);
        out.put(&format!("homeport.limits.{class}.maxRunning"), running_max);
        out.put(&format!("homeport.limits.{class}.maxInQueue"), queue_max);
        out.put(&format!("homeport.limits.{class}.maxWaitInQueue"), show_duration(wait_max.unwrap_or_default()));
    }
    out.put("homeport.limits.maxConnections", connections_max);
    out.put("homeport.limits.manifestBytes", manifest_bytes_max);
    out.put("homeport.limits.bodyIdle", show_duration(*body_idle));
    if let Some(bytes) = upload_bytes_max {
        out.put("homeport.limits.maxUploadBytes", bytes);
    }
}

fn show_metrics(out: &mut Lines, Metrics { access, secret }: &Metrics) {
    let access = match access {
        MetricsAccess::Off => "off",
        MetricsAccess::Open => "open",
        MetricsAccess::Authenticated => "authenticated",
    };
    out.put("homeport.metrics.access", access);
    if let Some(secret) = secret {
        out.at("homeport.metrics.secret", Shown::Secret(secret.expose().to_owned()));
    }
}

/// The settings as YAML, secrets as `***`. What a configuration file would have to say for the same effect.
pub(crate) fn yaml(settings: &Settings) -> String {
    let mut root = Node { value: Value::Map(Vec::new()), origin: Origin::Line(0) };
    for (path, shown) in lines(settings) {
        insert(&mut root, &path, node(shown));
    }
    let mut text = String::new();
    write_entries(&mut text, root.entries(), 0);
    text
}

fn node(shown: Shown) -> Node {
    let scalar = |text: String| Node::scalar(text, Origin::Line(0));
    let list = |values: Vec<String>| Node {
        value: Value::List(values.into_iter().map(scalar).collect()),
        origin: Origin::Line(0),
    };
    match shown {
        Shown::Text(text) => scalar(text),
        Shown::List(values) => list(values),
        Shown::Secret(_) => scalar("***".to_owned()),
        Shown::Secrets(secrets) => list(secrets.iter().map(|_| "***".to_owned()).collect()),
    }
}

fn insert(node: &mut Node, path: &[String], new: Node) {
    let Some((name, rest)) = path.split_first() else {
        *node = new;
        return;
    };
    insert(node.member_mut(name, |key| key == name), rest, new);
}

fn write_entries(text: &mut String, entries: &[Entry], depth: usize) {
    for entry in entries {
        let indent = "  ".repeat(depth);
        match &entry.node.value {
            Value::Map(below) if below.iter().all(|entry| entry.key.parse::<usize>().is_ok()) => {
                text.push_str(&format!("{indent}{}:\n", quoted(&entry.key)));
                for item in below {
                    let mut inner = String::new();
                    write_entries(&mut inner, item.node.entries(), depth + 2);
                    // The first line of an item carries the dash in place of its last two spaces.
                    text.push_str(&inner.replacen(&"  ".repeat(depth + 2), &format!("{indent}  - "), 1));
                }
            }
            Value::Map(below) => {
                text.push_str(&format!("{indent}{}:\n", quoted(&entry.key)));
                write_entries(text, below, depth + 1);
            }
            Value::List(items) => {
                let items: Vec<_> = items.iter().filter_map(Node::text).map(quoted).collect();
                text.push_str(&format!("{indent}{}: [{}]\n", quoted(&entry.key), items.join(", ")));
            }
            Value::Scalar(value) => text.push_str(&format!("{indent}{}: {}\n", quoted(&entry.key), quoted(value))),
            Value::Empty => text.push_str(&format!("{indent}{}:\n", quoted(&entry.key))),
        }
    }
}

/// As it is where that cannot be misread, otherwise in JSON's quotes, which YAML reads the same.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '/' || c == '.');
    if first && text.chars().all(plain) { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}
