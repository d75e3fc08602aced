//! A bucket of Google Cloud Storage.

use super::Context;
use super::http::service_address;
use crate::settings::resolved::Gcs;
use crate::settings::schema;
use crate::settings::secret::Secret;
use std::collections::BTreeMap;
use std::path::Path;

const PART: u64 = 8 << 20;
/// Uploads of the old driver go by multiples of this.
const STEP: u64 = 256 * 1024;
/// What a part may be.
const PART_MIN: u64 = 5 << 20;
const PART_MAX: u64 = 24 << 20;
const REQUESTS: usize = 50;
const REQUESTS_MIN: usize = 25;

pub(super) fn gcs(ctx: &mut Context<'_>) -> Gcs {
    let text = |ctx: &Context<'_>, name: &str| ctx.text(&key(name)).map(str::to_owned);
    let bucket = text(ctx, "bucket").unwrap_or_default();
    if bucket.is_empty() {
        ctx.error(&key("bucket"), "is missing; name the bucket");
    }
    let credentials = credentials(ctx);
    let key_file = ctx.path(&key("keyfile"));
    if key_file.is_some() && !credentials.is_empty() {
        ctx.warning(&key("credentials"), format!("has no effect: {} is set as well, and wins", key("keyfile")));
    }
    let private_key = match &key_file {
        Some(file) => private_key(ctx, file),
        None => credentials.get("private_key").cloned(),
    };
    Gcs {
        bucket,
        key_file,
        credentials,
        private_key,
        root_directory: ctx.text(&key("rootdirectory")).unwrap_or_default().trim_matches('/').to_owned(),
        chunk_bytes: chunk(ctx),
        requests_max: ctx.amount(&key("maxconcurrency")).unwrap_or(REQUESTS).max(REQUESTS_MIN),
        user_agent: text(ctx, "useragent"),
        endpoint: address(ctx, "endpoint"),
        redirect_endpoint: address(ctx, "redirectendpoint"),
        ca_file: ctx.path(&key("cafile")),
    }
}

fn key(name: &str) -> String {
    format!("storage.gcs.{name}")
}

/// The members of `credentials` that are there.
fn credentials(ctx: &mut Context<'_>) -> BTreeMap<&'static str, Secret> {
    let names = schema::children(&["storage", "gcs", "credentials"]);
    let given = names.into_iter().filter_map(|name| Some((name, ctx.secret(&key(&format!("credentials.{name}")))?)));
    let credentials: BTreeMap<&'static str, Secret> = given.collect();
    if !credentials.is_empty() {
        for name in ["client_email", "private_key"] {
            if !credentials.contains_key(name) {
                let key = key(&format!("credentials.{name}"));
                ctx.error(&key, "is missing; credentials have everything that a key file of Google's has");
            }
        }
    }
    credentials
}

/// The key in a file of credentials; other kinds than that of a service account have none.
fn private_key(ctx: &mut Context<'_>, file: &Path) -> Option<Secret> {
    match (ctx.read_file)(file) {
        Ok(text) => {
            let document: serde_json::Value = serde_json::from_str(&text).ok()?;
            document["private_key"].as_str().map(Secret::new)
        }
        Err(error) => {
            ctx.error(&key("keyfile"), format!("cannot be read: {error}"));
            None
        }
    }
}

fn address(ctx: &mut Context<'_>, name: &str) -> Option<String> {
    service_address(ctx, &key(name), "https://storage.example.com")
}

fn chunk(ctx: &mut Context<'_>) -> u64 {
    let chunk = ctx.count(&key("chunksize")).unwrap_or(PART);
    if chunk == 0 || !chunk.is_multiple_of(STEP) {
        ctx.error(&key("chunksize"), format!("must be a multiple of {STEP} (bytes)"));
    }
    chunk.clamp(PART_MIN, PART_MAX)
}
