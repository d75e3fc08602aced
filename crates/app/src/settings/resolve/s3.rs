//! A bucket of S3.

use super::Context;
use super::http::service_address;
use crate::settings::resolved::S3;
use std::ops::RangeInclusive;

const PART: u64 = 8 << 20;
const COPY: u64 = 32 << 20;
const COPIES: usize = 16;
/// What services take as a part, but for the last one.
const PART_RANGE: RangeInclusive<u64> = 5 << 20..=5 << 30;
/// More than that an upload does not hold in memory.
const PART_HELD_MAX: u64 = 24 << 20;

pub(super) fn s3(ctx: &mut Context<'_>) -> S3 {
    let text = |ctx: &Context<'_>, name: &str| ctx.text(&key(name)).map(str::to_owned);
    let bucket = text(ctx, "bucket").unwrap_or_default();
    if bucket.is_empty() {
        ctx.error(&key("bucket"), "is missing; name the bucket");
    }
    contradictions(ctx);
    S3 {
        bucket,
        region: text(ctx, "region"),
        region_endpoint: address(ctx, "regionendpoint"),
        redirect_endpoint: address(ctx, "redirectendpoint"),
        force_path_style: ctx.truth(&key("forcepathstyle")),
        virtual_hosted_style: ctx.truth(&key("virtualhostedstyle")),
        secure: ctx.truth(&key("secure")).unwrap_or(true),
        skip_verify: ctx.truth(&key("skipverify")).unwrap_or(false),
        ca_file: ctx.path(&key("cafile")),
        dual_stack: ctx.truth(&key("usedualstack")).unwrap_or(false),
        access_key: ctx.secret(&key("accesskey")),
        secret_key: ctx.secret(&key("secretkey")),
        session_token: ctx.secret(&key("sessiontoken")),
        credentials_file: ctx.path(&key("credentialsconfigpath")),
        encrypt: ctx.truth(&key("encrypt")).unwrap_or(false),
        key_id: text(ctx, "keyid"),
        storage_class: text(ctx, "storageclass").map_or_else(|| "STANDARD".to_owned(), |class| class.to_uppercase()),
        root_directory: ctx.text(&key("rootdirectory")).unwrap_or_default().trim_matches('/').to_owned(),
        user_agent: text(ctx, "useragent"),
        chunk_bytes: chunk(ctx),
        copy_threshold_bytes: bytes(ctx, "multipartcopythresholdsize", COPY, 0..=5 << 30),
        copy_chunk_bytes: bytes(ctx, "multipartcopychunksize", COPY, PART_RANGE),
        copies_max: ctx.amount(&key("multipartcopymaxconcurrency")).unwrap_or(COPIES),
    }
}

fn key(name: &str) -> String {
    format!("storage.s3.{name}")
}

/// What can only be told from several keys, or from the value of one.
fn contradictions(ctx: &mut Context<'_>) {
    for (set, missing) in [("accesskey", "secretkey"), ("secretkey", "accesskey")] {
        if ctx.text(&key(set)).is_some() && ctx.text(&key(missing)).is_none() {
            ctx.error(&key(missing), format!("is missing, since {} is set", key(set)));
        }
    }
    ctx.shadowed(&key("credentialsconfigpath"), &key("accesskey"));
    let (path, host) = (ctx.truth(&key("forcepathstyle")), ctx.truth(&key("virtualhostedstyle")));
    if path.is_some() && path == host {
        ctx.error(&key("virtualhostedstyle"), format!("contradicts {}; keep one of them", key("forcepathstyle")));
    }
    if ctx.text(&key("keyid")).is_some() && ctx.truth(&key("encrypt")) != Some(true) {
        ctx.warning(&key("keyid"), "has no effect without `encrypt: true`");
    }
    if ctx.truth(&key("v4auth")) == Some(false) {
        ctx.warning(&key("v4auth"), "false has no effect: requests are always signed by version 4");
    }
    if ctx.word(&key("objectacl")).is_some_and(|acl| acl != "private") {
        ctx.error(&key("objectacl"), "must be private: let the bucket's policy say who else may read");
    }
    if ctx.amount(&key("multipartcopymaxconcurrency")) == Some(0) {
        ctx.error(&key("multipartcopymaxconcurrency"), "must be at least 1");
    }
}

fn address(ctx: &mut Context<'_>, name: &str) -> Option<String> {
    service_address(ctx, &key(name), "https://s3.example.com:9000")
}

fn chunk(ctx: &mut Context<'_>) -> u64 {
    let chunk = bytes(ctx, "chunksize", PART, PART_RANGE);
    if chunk > PART_HELD_MAX {
        ctx.warning(&key("chunksize"), "counts as 25165824: an upload holds no more in memory");
    }
    chunk.min(PART_HELD_MAX)
}

fn bytes(ctx: &mut Context<'_>, name: &str, default: u64, range: RangeInclusive<u64>) -> u64 {
    let bytes = ctx.count(&key(name)).unwrap_or(default);
    if !range.contains(&bytes) {
        ctx.error(&key(name), format!("must be from {} to {} (bytes)", range.start(), range.end()));
    }
    bytes
}
