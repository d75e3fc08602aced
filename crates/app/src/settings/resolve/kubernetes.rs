//! The cluster that the registry is part of.

use std::time::Duration;

use super::Context;
use crate::settings::resolved::{Auth, Kubernetes, RightsFrom};

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

pub(super) fn kubernetes(ctx: &mut Context<'_>, auth: &Auth) -> Option<Kubernetes> {
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
        hosts: hosts(ctx),
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
    let is_host = |host: &String| host.chars().all(|c| c.is_ascii_alphanumeric() || ".-:[]".contains(c));
    if let Some(host) = hosts.iter().find(|host| !is_host(host)) {
        ctx.error(KEY, format!("has {host:?}; write a host name with or without port, such as registry.example.com"));
    }
    hosts
}
