//! Bounds, checks of what is pushed, and health.

use std::path::PathBuf;
use std::time::Duration;

use super::Context;
use crate::settings::document::Node;
use crate::settings::resolved::{
    Health, IndexRules, Limits, Pages, Platform, Probe, RequestLimit, Tags, UrlRules, Validation,
};
use crate::settings::value;

const MANIFEST_BYTES: u64 = 4 << 20;
/// Below, ordinary indexes would not fit; above, a few clients could fill memory.
const MANIFEST_BYTES_RANGE: std::ops::RangeInclusive<u64> = 4 << 10..=64 << 20;
const BODY_IDLE: Duration = Duration::from_secs(60);
const CONNECTIONS: usize = 10_000;
/// distribution's own default for both lists.
const PAGE: usize = 1_000;
const INTERVAL: Duration = Duration::from_secs(10);

pub(super) fn limits(ctx: &mut Context<'_>) -> Limits {
    let manifest_bytes =
        ctx.text("homeport.limits.manifestBytes").and_then(|text| value::size(text).ok()).unwrap_or(MANIFEST_BYTES);
    if !MANIFEST_BYTES_RANGE.contains(&manifest_bytes) {
        ctx.error("homeport.limits.manifestBytes", "must be from 4KiB to 64MiB");
    }
    let connections_max = ctx.amount("homeport.limits.maxConnections").unwrap_or(CONNECTIONS);
    if connections_max == 0 {
        ctx.error("homeport.limits.maxConnections", "must be at least 1");
    }
    let body_idle = ctx.span("homeport.limits.bodyIdle").unwrap_or(BODY_IDLE);
    if body_idle < Duration::from_secs(1) {
        ctx.error("homeport.limits.bodyIdle", "must be at least 1s: networks pause");
    }
    Limits {
        read: requests(ctx, "read"),
        write: requests(ctx, "write"),
        connections_max,
        manifest_bytes_max: usize::try_from(manifest_bytes).unwrap_or(usize::MAX),
        body_idle,
        upload_bytes_max: ctx.text("homeport.limits.maxUploadBytes").and_then(|text| value::size(text).ok()),
    }
}

/// Our section wins as a whole: a limit made of two halves from two places is nobody's intention.
fn requests(ctx: &mut Context<'_>, class: &str) -> Option<RequestLimit> {
    let (ours, theirs) = (format!("homeport.limits.{class}"), format!("openshift.requests.{class}"));
    let wait = ctx.duration(&format!("{theirs}.maxwaitinqueue"));
    let theirs_max = ctx.text(&format!("{theirs}.maxrunning")).and_then(|text| value::integer(text).ok());
    let limit = if ctx.has(&ours) {
        if theirs_max.is_some_and(|max| max > 0) {
            ctx.warning(&theirs, format!("has no effect: {ours} is set as well, and wins"));
        }
        RequestLimit {
            running_max: ctx.amount(&format!("{ours}.maxRunning")).unwrap_or(0),
            queue_max: ctx.amount(&format!("{ours}.maxInQueue")).unwrap_or(0),
            wait_max: ctx.span(&format!("{ours}.maxWaitInQueue")).filter(|wait| !wait.is_zero()),
        }
    } else {
        RequestLimit {
            running_max: theirs_max.and_then(|max| usize::try_from(max).ok()).unwrap_or(0),
            queue_max: ctx.amount(&format!("{theirs}.maxinqueue")).unwrap_or(0),
            wait_max: wait.filter(|wait| !wait.is_zero()),
        }
    };
    (limit.running_max > 0).then_some(limit)
}

pub(super) fn health(ctx: &mut Context<'_>) -> Health {
    let probe = Probe {
        interval: interval(ctx, "health.storagedriver"),
        threshold: threshold(ctx.root.find("health.storagedriver")),
    };
    let storage = ctx.truth("health.storagedriver.enabled").unwrap_or(false).then_some(probe);
    let mut files = Vec::new();
    for (index, item) in ctx.root.find("health.file").map(Node::items).unwrap_or_default().iter().enumerate() {
        let interval =
            item.get("interval").and_then(Node::text).and_then(|text| value::duration(text).ok()).unwrap_or(INTERVAL);
        let key = format!("health.file[{index}]");
        if interval < Duration::from_millis(1) {
            ctx.report.error(
                Some(&item.origin),
                format!("{key}.interval"),
                "must be at least 1ms; write a unit, such as 10s",
            );
        }
        match item.get("file").and_then(Node::text) {
            Some(file) => files.push((PathBuf::from(file), Probe { interval, threshold: threshold(Some(item)) })),
            None => ctx.report.error(
                Some(&item.origin),
                format!("{key}.file"),
                "is missing; write the path of the file to look for",
            ),
        }
    }
    Health { storage, files }
}

fn interval(ctx: &mut Context<'_>, section: &str) -> Duration {
    let key = format!("{section}.interval");
    let interval = ctx.duration(&key).unwrap_or(INTERVAL);
    if interval < Duration::from_millis(1) {
        ctx.error(&key, "must be at least 1ms; write a unit, such as 10s");
    }
    interval
}

/// 0 and nothing mean that a single failure counts.
fn threshold(section: Option<&Node>) -> u32 {
    let text = section.and_then(|section| section.get("threshold")).and_then(Node::text);
    let count = text.and_then(|text| value::count(text).ok()).unwrap_or(1);
    u32::try_from(count).unwrap_or(u32::MAX).max(1)
}

pub(super) fn validation(ctx: &mut Context<'_>) -> Validation {
    let enabled =
        ctx.truth("validation.enabled").unwrap_or(false) || !ctx.truth("validation.disabled").unwrap_or(false);
    let (urls, indexes) = (urls(ctx), indexes(ctx));
    let blobs_required = ctx.word("homeport.missingBlobs").as_deref() != Some("accept");
    if enabled {
        Validation { urls, indexes, blobs_required }
    } else {
        Validation { urls: UrlRules::Any, indexes: IndexRules::None, blobs_required }
    }
}

/// Without a rule every URL is accepted: non-distributable layers have one, and a registry that is to take any image must
/// take them. (Distribution refuses all in that case.)
fn urls(ctx: &Context<'_>) -> UrlRules {
    let allow = ctx.texts("validation.manifests.urls.allow");
    let deny = ctx.texts("validation.manifests.urls.deny");
    if allow.is_empty() && deny.is_empty() { UrlRules::Any } else { UrlRules::Rules { allow, deny } }
}

fn indexes(ctx: &mut Context<'_>) -> IndexRules {
    const LIST: &str = "validation.manifests.indexes.platformlist";
    let mut platforms = Vec::new();
    for (index, item) in ctx.root.find(LIST).map(Node::items).unwrap_or_default().iter().enumerate() {
        let text = |name: &str| item.get(name).and_then(Node::text).unwrap_or_default().to_owned();
        let platform = Platform { os: text("os"), architecture: text("architecture") };
        if platform.os.is_empty() || platform.architecture.is_empty() {
            ctx.report.error(
                Some(&item.origin),
                format!("{LIST}[{index}]"),
                "needs os and architecture, such as linux and amd64",
            );
        }
        platforms.push(platform);
    }
    match ctx.word("validation.manifests.indexes.platforms").as_deref() {
        Some("list") => {
            if platforms.is_empty() {
                ctx.error(
                    "validation.manifests.indexes.platforms",
                    "is list, but platformlist is empty; name the platforms there",
                );
            }
            IndexRules::Platforms(platforms)
        }
        other => {
            if !platforms.is_empty() {
                ctx.warning(LIST, "has no effect without `platforms: list`");
            }
            // Sparse indexes are welcome unless somebody asks for the check. (Distribution checks unless told otherwise.)
            if other == Some("all") { IndexRules::All } else { IndexRules::None }
        }
    }
}

pub(super) fn tags(ctx: &mut Context<'_>) -> Tags {
    const KEY: &str = "homeport.tags.immutable";
    let immutable = ctx.texts(KEY);
    if let Err((index, error)) = ::content::ImmutableTags::parse(&immutable) {
        ctx.error(KEY, format!("{:?} {error}", immutable[index]));
    }
    Tags { immutable }
}

pub(super) fn pages(ctx: &mut Context<'_>) -> Pages {
    ctx.shadowed("catalog.maxentries", "homeport.catalog.maxEntries");
    let theirs = ctx
        .text("catalog.maxentries")
        .and_then(|text| value::integer(text).ok())
        .and_then(|max| usize::try_from(max).ok());
    let catalog = ctx.amount("homeport.catalog.maxEntries").or(theirs).filter(|max| *max > 0);
    let tags = ctx.amount("tags.maxtags").filter(|max| *max > 0);
    Pages { catalog_max: catalog.unwrap_or(PAGE), tags_max: tags.unwrap_or(PAGE) }
}
