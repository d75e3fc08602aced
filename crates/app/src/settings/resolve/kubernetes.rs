//! The cluster that the registry is part of.

use std::time::Duration;

use super::Context;
use super::http::tcp;
use crate::settings::resolved::{Api, Auth, Http, Kubernetes, RightsFrom};

const SECTION: &str = "homeport.kubernetes";
const TOKEN_TTL: Duration = Duration::from_secs(60);
const NEGATIVE_TTL: Duration = Duration::from_secs(10);
const STALE_FOR: Duration = Duration::from_secs(600);
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// The API server gives no token a shorter life.
const LIFETIME_MIN: Duration = Duration::from_secs(600);
const LIFETIME_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
const CLEANUP_INTERVAL: Duration = Duration::from_secs(300);
/// A longer memory would keep deleted accounts alive.
const TOKEN_TTL_MAX: Duration = Duration::from_secs(3600);
const HOSTS_MAX: usize = 64;

pub(super) fn kubernetes(ctx: &mut Context<'_>, auth: &Auth, http: &Http) -> Option<Kubernetes> {
    let wanted = matches!(auth, Auth::OpenShift { .. });
    let written = ctx.root.find(SECTION).is_some_and(|section| !section.is_blank());
    match ctx.truth("homeport.kubernetes.enabled") {
        Some(false) if wanted => {
            ctx.error(
                "homeport.kubernetes.enabled",
                "is false, but auth.openshift needs the cluster; remove one of them",
            );
            return None;
        }
        Some(false) => return None,
        None if !wanted && !written => return None,
        Some(true) | None => {}
    }
    ctx.shadowed("openshift.kubeconfig", "homeport.kubernetes.kubeconfig");
    let hosts = hosts(ctx);
    Some(Kubernetes {
        kubeconfig: ctx.path("homeport.kubernetes.kubeconfig").or_else(|| ctx.path("openshift.kubeconfig")),
        context: ctx.text("homeport.kubernetes.context").map(str::to_owned),
        audiences: ctx.texts("homeport.kubernetes.audiences"),
        rights: match ctx.word("homeport.kubernetes.authorization").as_deref() {
            Some("review") => RightsFrom::Review,
            _ => RightsFrom::Rbac,
        },
        catalog_filtered: ctx.word("homeport.kubernetes.catalog").as_deref() == Some("filtered"),
        token_ttl: bounded(ctx, "homeport.kubernetes.tokenTTL", TOKEN_TTL),
        negative_ttl: bounded(ctx, "homeport.kubernetes.negativeTTL", NEGATIVE_TTL),
        stale_for: ctx.span("homeport.kubernetes.staleFor").unwrap_or(STALE_FOR),
        api: api(ctx, http, &hosts),
        hosts,
        pull_secret_lifetime: lifetime(ctx),
        cleanup: cleanup(ctx),
        namespace: ctx.text("homeport.kubernetes.namespace").map(str::to_owned),
    })
}

fn bounded(ctx: &mut Context<'_>, key: &str, default: Duration) -> Duration {
    let ttl = ctx.span(key).unwrap_or(default);
    if ttl > TOKEN_TTL_MAX {
        ctx.error(key, "must be at most 1h: nobody would notice a deleted account for that long");
    }
    ttl
}

fn lifetime(ctx: &mut Context<'_>) -> Duration {
    const KEY: &str = "homeport.kubernetes.pullSecrets.lifetime";
    let lifetime = ctx.span(KEY).unwrap_or(LIFETIME);
    if !(LIFETIME_MIN..=LIFETIME_MAX).contains(&lifetime) {
        ctx.error(KEY, "must be from 10m, the shortest life that the API server gives a token, to 8760h");
    }
    lifetime
}

fn cleanup(ctx: &mut Context<'_>) -> Option<Duration> {
    const KEY: &str = "homeport.kubernetes.cleanup.interval";
    let interval = ctx.span(KEY).unwrap_or(CLEANUP_INTERVAL);
    if interval < Duration::from_secs(1) {
        ctx.error(KEY, "must be at least 1s");
    }
    ctx.truth("homeport.kubernetes.cleanup.enabled").unwrap_or(true).then_some(interval)
}

fn hosts(ctx: &mut Context<'_>) -> Vec<String> {
    const KEY: &str = "homeport.kubernetes.hosts";
    let hosts = ctx.texts(KEY);
    if hosts.len() > HOSTS_MAX {
        ctx.error(KEY, format!("has more than {HOSTS_MAX} names"));
    }
    if let Some(host) = hosts.iter().find(|host| !is_host(host)) {
        ctx.error(KEY, format!("has {host:?}; write a host name with or without port, such as registry.example.com"));
    }
    hosts
}

fn is_host(host: &str) -> bool {
    host.chars().all(|c| c.is_ascii_alphanumeric() || ".-:[]".contains(c))
}

fn api(ctx: &mut Context<'_>, http: &Http, hosts: &[String]) -> Option<Api> {
    const ADDR: &str = "homeport.kubernetes.api.addr";
    const HOST: &str = "homeport.kubernetes.api.host";
    const FILES: [&str; 2] = ["homeport.kubernetes.api.certificate", "homeport.kubernetes.api.key"];
    let host = ctx.text(HOST).map(str::to_owned);
    if host.as_deref().is_some_and(|host| !is_host(host)) {
        ctx.error(HOST, "must be a host name with or without port, such as registry.example.com:5000");
    }
    if ctx.text(ADDR).is_none() {
        for key in FILES.into_iter().chain([HOST]) {
            if ctx.text(key).is_some() {
                ctx.warning(key, format!("has no effect without {ADDR}"));
            }
        }
        return None;
    }
    let [certificate, key] = FILES.map(|key| {
        let path = ctx.path(key);
        if path.is_none() {
            ctx.error(key, format!("is missing, since {ADDR} is set: the API server speaks TLS only"));
        }
        path.unwrap_or_default()
    });
    let public = || http.host.as_deref().map(authority);
    let host = host.or_else(|| public().or(hosts.first().map(String::as_str)).map(str::to_owned));
    if host.is_none() {
        ctx.warning(
            HOST,
            "is not known, and addresses of images lack it; set it, http.host or homeport.kubernetes.hosts",
        );
    }
    Some(Api { listen: tcp(ctx, ADDR, ""), certificate, key, host: host.unwrap_or_default() })
}

/// Host and port of a URL.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}
