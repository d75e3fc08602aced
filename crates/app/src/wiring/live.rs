//! The settings that a running registry takes.

use crate::settings::{self, Delivery, Driver, IndexRules, RequestLimit, Settings, Storage, TokenRealm, UrlRules};
use anyhow::Context;
use content::{AddressLife, ImmutableTags, IndexChildren};
use http::{HeaderName, HeaderValue};
use net::GateLimits;
use regex_lite::Regex;
use registry::{Live, MetricsAccess, Realm, Redirects};
use std::time::Duration;

pub(crate) fn live(settings: &Settings) -> anyhow::Result<Live> {
    let http = &settings.http;
    let mut headers = Vec::new();
    for (name, values) in &http.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).with_context(|| format!("http.headers.{name}"))?;
        for value in values {
            headers.push((name.clone(), HeaderValue::from_str(value).with_context(|| format!("http.headers.{name}"))?));
        }
    }
    let realm = match (&settings.token.realm, &http.host) {
        (Some(TokenRealm::Url(url)), _) => Realm::Url(url.clone()),
        (Some(TokenRealm::Host(host)), _) => Realm::Url(format!("{host}/openshift/token")),
        (None, Some(host)) => Realm::Base(host.clone()),
        (None, None) => Realm::FromRequest,
    };
    Ok(Live {
        read_only: settings.storage.read_only,
        delete: settings.storage.delete,
        headers,
        prefix: http.prefix.trim_end_matches('/').to_owned(),
        base_url: http.host.clone().filter(|_| !http.relative_urls),
        realm,
        service: Some(settings.token.service.clone()),
        catalog_max: settings.pages.catalog_max,
        tags_max: settings.pages.tags_max,
        index_children: match &settings.validation.indexes {
            IndexRules::All => IndexChildren::All,
            IndexRules::None => IndexChildren::Any,
            IndexRules::Platforms(platforms) => IndexChildren::Platforms(
                platforms.iter().map(|platform| format!("{}/{}", platform.os, platform.architecture)).collect(),
            ),
        },
        blobs_required: settings.validation.blobs_required,
        url_allowed: url_rules(&settings.validation.urls)?,
        upload_bytes_max: settings.limits.upload_bytes_max,
        redirects: redirects(settings),
        body_idle: settings.limits.body_idle,
        metrics: match settings.metrics.access {
            settings::MetricsAccess::Off => MetricsAccess::Off,
            settings::MetricsAccess::Open => MetricsAccess::Open,
            settings::MetricsAccess::Authenticated => MetricsAccess::Authorized,
        },
        metrics_secret: settings.metrics.secret.as_ref().map(|secret| secret.expose().as_bytes().to_vec()),
        audit: settings.audit,
        access_log: settings.log.access,
    })
}

fn redirects(settings: &Settings) -> Redirects {
    let networks = |networks: &[settings::Network]| networks.iter().map(|network| network.network).collect();
    let Storage { driver, redirect, .. } = &settings.storage;
    // Files have no addresses of their own.
    let has_addresses = settings.delivery != Delivery::Storage || !matches!(driver, Driver::Filesystem { .. });
    let wanted = &settings.redirects;
    Redirects {
        enabled: *redirect && has_addresses,
        networks: networks(&wanted.networks),
        except: networks(&wanted.except),
        life: AddressLife { least: wanted.life, most: wanted.life_max },
    }
}

/// The tags that stay what they are.
pub(crate) fn immutable_tags(settings: &Settings) -> anyhow::Result<ImmutableTags> {
    let patterns = &settings.tags.immutable;
    ImmutableTags::parse(patterns)
        .map_err(|(index, error)| anyhow::anyhow!("homeport.tags.immutable: {:?} {error}", patterns[index]))
}

type UrlRule = Box<dyn Fn(&str) -> bool + Send + Sync>;

fn url_rules(rules: &UrlRules) -> anyhow::Result<UrlRule> {
    let UrlRules::Rules { allow, deny } = rules else { return Ok(Box::new(|_| true)) };
    let compile = |key: &str, list: &[String]| {
        list.iter()
            .map(|text| Regex::new(text).with_context(|| format!("validation.manifests.urls.{key}: {text:?}")))
            .collect::<anyhow::Result<Vec<_>>>()
    };
    let (allow, deny) = (compile("allow", allow)?, compile("deny", deny)?);
    let nothing = allow.is_empty() && deny.is_empty();
    Ok(Box::new(move |url| {
        let allowed = allow.is_empty() || allow.iter().any(|rule| rule.is_match(url));
        !nothing && allowed && !deny.iter().any(|rule| rule.is_match(url))
    }))
}

pub(crate) fn gate_limits(limit: Option<RequestLimit>) -> GateLimits {
    let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
    limit.map_or(GateLimits { max_running: 0, max_in_queue: 0, max_wait_in_queue: Duration::ZERO }, |limit| {
        GateLimits {
            max_running: number(limit.running_max),
            max_in_queue: number(limit.queue_max),
            max_wait_in_queue: limit.wait_max.unwrap_or(Duration::ZERO),
        }
    })
}
