//! Keys of the server as such: logging, listeners, health.

use super::Kind::{Bool, Choice, Count, Duration, Secret, Section, Text, TextList};
use super::{Key, fixed, live, refused, warned};

const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace"];
const FORMATS: &[&str] = &["text", "json", "logstash"];
const NETWORKS: &[&str] = &["tcp", "unix"];
const MINIMUM_TLS: &[&str] =
    &["tls1.0", "tls1.1", "tls1.2", "tls1.3", "VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13"];
const CLIENT_AUTH: &[&str] = &[
    "request-client-cert",
    "require-any-client-cert",
    "verify-client-cert-if-given",
    "require-and-verify-client-cert",
];

pub(super) const GENERAL: &[Key] = &[
    fixed("version", Text, "", "required in a file; the only version is `0.1`"),
    warned(
        "loglevel",
        Choice(LEVELS),
        "deprecated by distribution: write `log.level`; used only where that is left out",
    ),
];

pub(super) const LOG: &[Key] = &[
    live("log", Section, "", "what is logged, and how"),
    live("log.level", Choice(LEVELS), "info", "the least severe events that are written; `trace` is ours"),
    fixed("log.formatter", Choice(FORMATS), "text", "`logstash` is written as `json`, with a warning"),
    fixed("log.fields.*", Text, "", "added to every event"),
    live("log.accesslog.disabled", Bool, "false", "no event per request"),
    warned("log.reportcaller", Bool, "events always carry their module"),
    warned("log.hooks", Section, "mail from the registry is not supported; alert on the log instead"),
    warned("log.hooks.[].disabled", Bool, ""),
    warned("log.hooks.[].type", Text, ""),
    warned("log.hooks.[].levels", TextList, ""),
    warned("log.hooks.[].options.smtp.addr", Text, ""),
    warned("log.hooks.[].options.smtp.username", Text, ""),
    warned("log.hooks.[].options.smtp.password", Secret, ""),
    warned("log.hooks.[].options.smtp.insecure", Bool, ""),
    warned("log.hooks.[].options.from", Text, ""),
    warned("log.hooks.[].options.to", TextList, ""),
];

pub(super) const HTTP: &[Key] = &[
    fixed(
        "http.addr",
        Text,
        ":5000",
        "`HOST:PORT`, `:PORT` for all addresses, or the path of a socket with `http.net: unix`",
    ),
    fixed("http.net", Choice(NETWORKS), "tcp", ""),
    live("http.prefix", Text, "/", "path in front of `/v2/`; begins and ends with a slash"),
    live("http.host", Text, "", "public URL; without it, URLs follow the request"),
    live(
        "http.secret",
        Secret,
        "",
        "signs upload state; must be the same in all replicas. Without it, or with less than 16 bytes, one is made and kept in the data folder; with a bucket it is derived from the bucket's own key or password of 16 bytes or more, or required",
    ),
    live("http.relativeurls", Bool, "false", "`Location` headers without scheme and host"),
    fixed("http.draintimeout", Duration, "30s", "how long a stop waits for requests in flight"),
    live("http.headers.*", TextList, "", "added to every answer"),
    fixed("http.http2.disabled", Bool, "false", "no HTTP/2 over TLS"),
    fixed("http.h2c.enabled", Bool, "false", "HTTP/2 without TLS"),
    fixed("http.debug.addr", Text, "", "a second listener for health and metrics, without authentication"),
    fixed("http.debug.prometheus.enabled", Bool, "false", "metrics on that listener"),
    fixed("http.debug.prometheus.path", Text, "/metrics", ""),
    fixed("http.tls", Section, "", "without it the registry speaks plain HTTP"),
    live("http.tls.certificate", Text, "", "PEM file; the file is read again when it changes"),
    live("http.tls.key", Text, "", "PEM file; the file is read again when it changes"),
    live("http.tls.clientcas", TextList, "", "PEM files of the authorities for client certificates"),
    fixed(
        "http.tls.clientauth",
        Choice(CLIENT_AUTH),
        "require-and-verify-client-cert",
        "only with `http.tls.clientcas`",
    ),
    fixed(
        "http.tls.minimumtls",
        Choice(MINIMUM_TLS),
        "tls1.2",
        "lower versions are raised to `tls1.2` with a warning; OpenShift's spelling (`VersionTLS12`) works too",
    ),
    fixed(
        "http.tls.ciphersuites",
        TextList,
        "",
        "all that this build has; suites that it lacks are left out with a warning",
    ),
    refused(
        "http.tls.letsencrypt",
        Section,
        "certificates are not fetched by the registry; use cert-manager or certbot and name the files in http.tls.certificate and http.tls.key",
    ),
    refused("http.tls.letsencrypt.cachefile", Text, ""),
    refused("http.tls.letsencrypt.email", Text, ""),
    refused("http.tls.letsencrypt.hosts", TextList, ""),
    refused("http.tls.letsencrypt.directoryurl", Text, ""),
];

pub(super) const HEALTH: &[Key] = &[
    fixed(
        "health.storagedriver.enabled",
        Bool,
        "false",
        "probes the storage as set here; failures show in `/readyz`. Without it: every 10 s, 3 failures count",
    ),
    fixed("health.storagedriver.interval", Duration, "10s", ""),
    fixed("health.storagedriver.threshold", Count, "1", "failures in a row before the state is unhealthy"),
    fixed("health.file", Section, "", "unhealthy while one of these files exists"),
    fixed("health.file.[].file", Text, "", "required"),
    fixed("health.file.[].interval", Duration, "10s", ""),
    fixed("health.file.[].threshold", Count, "1", ""),
    warned("health.http", Section, "a registry does not watch other services; probe them where they run"),
    warned("health.http.[].uri", Text, ""),
    warned("health.http.[].headers.*", TextList, ""),
    warned("health.http.[].statuscode", Count, ""),
    warned("health.http.[].timeout", Duration, ""),
    warned("health.http.[].interval", Duration, ""),
    warned("health.http.[].threshold", Count, ""),
    warned("health.tcp", Section, "a registry does not watch other services; probe them where they run"),
    warned("health.tcp.[].addr", Text, ""),
    warned("health.tcp.[].timeout", Duration, ""),
    warned("health.tcp.[].interval", Duration, ""),
    warned("health.tcp.[].threshold", Count, ""),
];
