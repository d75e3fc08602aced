//! Who is asked for a password, and the tokens that the registry issues.

use std::path::PathBuf;
use std::time::Duration;

use super::{Base, Context, http, users};
use crate::settings::document::Node;
use crate::settings::resolved::{Anonymous, Auth, Listen, Metrics, MetricsAccess, Token, TokenRealm};

/// Clients assume that a token without `expires_in` lives a minute, and old ones ignore anything else.
const EXPIRY_MIN: Duration = Duration::from_secs(60);
const EXPIRY_MAX: Duration = Duration::from_secs(24 * 3600);
const EXPIRY: Duration = Duration::from_secs(5 * 60);
const REFRESH_EXPIRY: Duration = Duration::from_secs(24 * 3600);

pub(super) fn auth(ctx: &mut Context<'_>) -> Auth {
    let entries = ctx.root.find("auth").map(Node::entries).unwrap_or_default();
    let names: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
    if names.len() > 1 {
        ctx.error("auth", format!("has more than one provider: {}; keep one", names.join(", ")));
    }
    match names.first() {
        Some(&"htpasswd") => {
            for (key, what) in [
                ("auth.htpasswd.realm", "is missing; write any name, such as Registry"),
                ("auth.htpasswd.path", "is missing; write the path of a file that `htpasswd -B` made"),
            ] {
                if ctx.text(key).is_none() {
                    let origin = ctx.root.find("auth.htpasswd").map(|node| &node.origin);
                    ctx.report.error(origin, key, what);
                }
            }
            Auth::Htpasswd {
                realm: ctx.text("auth.htpasswd.realm").unwrap_or_default().to_owned(),
                path: ctx.path("auth.htpasswd.path").unwrap_or_default(),
            }
        }
        Some(&"openshift") => {
            ctx.shadowed("auth.openshift.realm", "openshift.auth.realm");
            let realm = ctx.text("openshift.auth.realm").or_else(|| ctx.text("auth.openshift.realm"));
            Auth::OpenShift { realm: realm.unwrap_or("openshift").to_owned() }
        }
        _ => Auth::None,
    }
}

pub(super) fn anonymous(ctx: &mut Context<'_>, authenticates: bool, listen: &Listen) -> Anonymous {
    match ctx.word("homeport.anonymous").as_deref() {
        Some("none") => Anonymous::None,
        Some("pull") => Anonymous::Pull,
        Some("all") => Anonymous::All,
        // A file of users that is still empty is a wish for authentication as well.
        _ if authenticates || ctx.has("homeport.usersFile") || ctx.has("homeport.users") => Anonymous::None,
        _ => {
            if ctx.base == Base::File && !listen.is_local() {
                let message = format!(
                    "defaults to all: whoever reaches {listen} can push and delete; set up auth, or write `anonymous: all` if that is meant"
                );
                ctx.warning("homeport.anonymous", message);
            }
            Anonymous::All
        }
    }
}

pub(super) fn token(ctx: &mut Context<'_>) -> Token {
    let (secret_files, mut secrets) = users::secret_files(ctx, "homeport.token.secretFiles");
    let written: Vec<_> =
        ctx.texts("homeport.token.secrets").into_iter().map(crate::settings::secret::Secret::new).collect();
    if !secret_files.is_empty() && !written.is_empty() {
        ctx.error("homeport.token.secrets", "and homeport.token.secretFiles are both set; keep one");
    }
    let key = if secret_files.is_empty() { "homeport.token.secrets" } else { "homeport.token.secretFiles" };
    secrets.extend(written);
    if secrets.iter().any(crate::settings::Secret::is_guessable) {
        ctx.error(key, "has a secret of fewer than 16 characters; make one with `openssl rand -hex 32`");
    }
    let expiry = ctx.span("homeport.token.expiry").unwrap_or(EXPIRY);
    if !(EXPIRY_MIN..=EXPIRY_MAX).contains(&expiry) {
        ctx.error("homeport.token.expiry", "must be from 60s to 24h");
    }
    let refresh_expiry = ctx.span("homeport.token.refreshExpiry").unwrap_or(REFRESH_EXPIRY);
    if refresh_expiry < expiry {
        ctx.error("homeport.token.refreshExpiry", "must not be shorter than homeport.token.expiry");
    }
    let service = ctx.text("homeport.token.service").unwrap_or("homeport");
    if !service.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '\\') {
        ctx.error("homeport.token.service", "must be a name of plain ASCII characters, without spaces and quotes");
    }
    Token { secrets, secret_files, expiry, refresh_expiry, realm: realm(ctx), service: service.to_owned() }
}

fn realm(ctx: &mut Context<'_>) -> Option<TokenRealm> {
    if let Some(url) = ctx.text("homeport.token.realm") {
        if !http::is_url(url) {
            ctx.error("homeport.token.realm", "must be a URL, such as https://registry.example.com/token");
        }
        ctx.shadowed("openshift.auth.tokenrealm", "homeport.token.realm");
        return Some(TokenRealm::Url(url.to_owned()));
    }
    ctx.shadowed("auth.openshift.tokenrealm", "openshift.auth.tokenrealm");
    let key =
        ["openshift.auth.tokenrealm", "auth.openshift.tokenrealm"].into_iter().find(|key| ctx.text(key).is_some())?;
    let url = ctx.text(key)?;
    let host = url.strip_suffix('/').unwrap_or(url);
    if !http::is_url(host) || host.matches('/').count() != 2 {
        ctx.error(key, "must be scheme and host without a path, such as https://registry.example.com:5000");
    }
    Some(TokenRealm::Host(host.to_owned()))
}

pub(super) fn metrics(ctx: &mut Context<'_>) -> Metrics {
    let openshift = ctx.truth("openshift.metrics.enabled").unwrap_or(false);
    let access = match ctx.word("homeport.metrics.access").as_deref() {
        Some("open") => MetricsAccess::Open,
        Some("authenticated") => MetricsAccess::Authenticated,
        None if openshift => MetricsAccess::Authenticated,
        _ => MetricsAccess::Off,
    };
    ctx.shadowed("openshift.metrics.enabled", "homeport.metrics.access");
    ctx.shadowed("openshift.metrics.secret", "homeport.metrics.secret");
    let secret = ctx.secret("homeport.metrics.secret").or_else(|| ctx.secret("openshift.metrics.secret"));
    Metrics { access, secret }
}

impl super::Settings {
    /// Files whose content these settings depend on, besides the configuration itself: a change in one is a reason to reload.
    pub(crate) fn watched_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        files.extend(self.users_file.clone());
        files.extend(self.token.secret_files.iter().cloned());
        if let Auth::Htpasswd { path, .. } = &self.auth {
            files.push(path.clone());
        }
        if let Some(tls) = &self.http.tls {
            files.extend([tls.certificate.clone(), tls.key.clone()]);
            files.extend(tls.clients.iter().flat_map(|clients| clients.authorities.iter().cloned()));
        }
        files
    }
}
