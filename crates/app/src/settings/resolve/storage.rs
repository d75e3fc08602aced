//! Where content is kept.

use std::path::PathBuf;
use std::time::Duration;

use super::{Base, Context, azure, gcs, s3, swift};
use crate::settings::document::Node;
use crate::settings::resolved::{Driver, Storage, Uploads};

const ROOT: &str = "/var/lib/registry";
const ROOT_ZERO_CONFIG: &str = "./homeport-data";
/// distribution's own default for its cache of descriptors.
const CACHE_ENTRIES: usize = 10_000;
/// A purge lists every upload of every repository; more often than this is a mistake in the unit.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Members of `storage:` that are not drivers.
const OPTIONS: &[&str] = &["delete", "redirect", "maintenance", "cache", "tag"];

pub(super) fn storage(ctx: &mut Context<'_>) -> Storage {
    let deletes = ctx.base == Base::ZeroConfig;
    Storage {
        driver: driver(ctx),
        delete: ctx.truth("storage.delete.enabled").unwrap_or(deletes),
        redirect: !ctx.truth("storage.redirect.disable").unwrap_or(false),
        read_only: ctx.truth("storage.maintenance.readonly.enabled").unwrap_or(false)
            || ctx.truth("homeport.readOnly").unwrap_or(false),
        uploads: uploads(ctx),
        cache_entries: cache(ctx),
    }
}

fn driver(ctx: &mut Context<'_>) -> Driver {
    let entries = ctx.root.find("storage").map(Node::entries).unwrap_or_default();
    let drivers: Vec<&str> =
        entries.iter().map(|entry| entry.key.as_str()).filter(|key| !OPTIONS.contains(key)).collect();
    if drivers.len() > 1 {
        ctx.error("storage", format!("has more than one driver: {}; keep one", drivers.join(", ")));
    }
    if drivers == ["s3"] {
        return Driver::S3(Box::new(s3::s3(ctx)));
    }
    if drivers == ["gcs"] {
        return Driver::Gcs(Box::new(gcs::gcs(ctx)));
    }
    if drivers == ["azure"] {
        return Driver::Azure(Box::new(azure::azure(ctx)));
    }
    if drivers == ["swift"] {
        return Driver::Swift(Box::new(swift::swift(ctx)));
    }
    let default = if ctx.base == Base::File { ROOT } else { ROOT_ZERO_CONFIG };
    let root = ctx.path("storage.filesystem.rootdirectory").unwrap_or_else(|| PathBuf::from(default));
    Driver::Filesystem { root }
}

fn uploads(ctx: &mut Context<'_>) -> Uploads {
    const SECTION: &str = "storage.maintenance.uploadpurging";
    let purge = ctx.truth(&format!("{SECTION}.enabled")).unwrap_or(true);
    let age = ctx.span(&format!("{SECTION}.age")).unwrap_or(Duration::from_secs(168 * 3600));
    let interval = ctx.span(&format!("{SECTION}.interval")).unwrap_or(Duration::from_secs(24 * 3600));
    let expiry = ctx.span("homeport.uploads.expiry").unwrap_or(age);
    ctx.shadowed("storage.maintenance.uploadpurging.age", "homeport.uploads.expiry");
    if interval < INTERVAL_MIN {
        ctx.error(&format!("{SECTION}.interval"), "must be at least 1s");
    }
    if expiry.is_zero() {
        let key = if ctx.has("homeport.uploads.expiry") {
            "homeport.uploads.expiry"
        } else {
            "storage.maintenance.uploadpurging.age"
        };
        ctx.error(key, "must be more than 0, or every upload would expire at once");
    }
    Uploads { purge, expiry, interval, dry_run: ctx.truth(&format!("{SECTION}.dryrun")).unwrap_or(false) }
}

fn cache(ctx: &mut Context<'_>) -> usize {
    for key in ["storage.cache.blobdescriptor", "storage.cache.layerinfo"] {
        if ctx.word(key).as_deref() == Some("redis") {
            ctx.warning(key, "redis is not used; the cache is in memory");
        }
    }
    match ctx.amount("storage.cache.blobdescriptorsize") {
        Some(0) => {
            ctx.warning(
                "storage.cache.blobdescriptorsize",
                "0 is no limit in distribution; memory is bounded here, to 10000 entries",
            );
            CACHE_ENTRIES
        }
        size => size.unwrap_or(CACHE_ENTRIES),
    }
}
