//! A container of Swift.

use super::Context;
use super::http::{is_url, service_address};
use crate::settings::resolved::Swift;
use std::ops::RangeInclusive;

const SEGMENT: u64 = 8 << 20;
/// As distribution takes them; Swift's own limit is 5 GiB.
const SEGMENT_RANGE: RangeInclusive<u64> = 1 << 20..=5 << 30;
/// What an upload sends at least at once, and holds at most.
const SEGMENT_USED: RangeInclusive<u64> = 5 << 20..=24 << 20;

pub(super) fn swift(ctx: &mut Context<'_>) -> Swift {
    let text = |ctx: &Context<'_>, name: &str| ctx.text(&key(name)).map(str::to_owned);
    let container = text(ctx, "container").unwrap_or_default();
    if container.is_empty() {
        ctx.error(&key("container"), "is missing; name the container");
    }
    credentials(ctx);
    Swift {
        auth_url: auth_url(ctx),
        auth_version: auth_version(ctx),
        container,
        username: text(ctx, "username"),
        password: ctx.secret(&key("password")),
        domain: text(ctx, "domain"),
        domain_id: text(ctx, "domainid"),
        tenant: text(ctx, "tenant"),
        tenant_id: text(ctx, "tenantid"),
        tenant_domain: text(ctx, "tenantdomain"),
        tenant_domain_id: text(ctx, "tenantdomainid"),
        trust_id: text(ctx, "trustid"),
        credential_id: text(ctx, "applicationcredentialid"),
        credential_name: text(ctx, "applicationcredentialname"),
        credential_secret: ctx.secret(&key("applicationcredentialsecret")),
        token_id: ctx.secret(&key("tokenid")),
        region: text(ctx, "region"),
        endpoint_type: ctx.word(&key("endpointtype")).unwrap_or_else(|| "public".to_owned()),
        redirect_endpoint: service_address(ctx, &key("redirectendpoint"), "https://swift.example.com"),
        skip_verify: ctx.truth(&key("insecureskipverify")).unwrap_or(false),
        ca_file: ctx.path(&key("cafile")),
        chunk_bytes: chunk(ctx),
        prefix: ctx.text(&key("prefix")).unwrap_or_default().trim_start_matches('/').to_owned(),
        secret_key: ctx.secret(&key("secretkey")),
        access_key: ctx.secret(&key("accesskey")),
        container_key: ctx.truth(&key("tempurlcontainerkey")).unwrap_or(false),
        address_methods: ctx.texts(&key("tempurlmethods")),
    }
}

fn key(name: &str) -> String {
    format!("storage.swift.{name}")
}

fn auth_url(ctx: &mut Context<'_>) -> String {
    let url = ctx.text(&key("authurl")).unwrap_or_default().to_owned();
    if url.is_empty() {
        ctx.error(&key("authurl"), "is missing; write the address of the identity service");
    } else if !is_url(&url) {
        ctx.error(&key("authurl"), "must be a URL, such as https://keystone.example.com:5000/v3");
    }
    url
}

fn auth_version(ctx: &mut Context<'_>) -> Option<u64> {
    let version = ctx.count(&key("authversion")).filter(|version| *version != 0);
    if version.is_some_and(|version| version > 3) {
        ctx.error(&key("authversion"), "must be 1, 2 or 3");
    }
    version
}

/// Who signs in: a user, an application credential, or whoever got the token.
fn credentials(ctx: &mut Context<'_>) {
    let has = |ctx: &Context<'_>, name: &str| ctx.text(&key(name)).is_some();
    let (id, name) = (has(ctx, "applicationcredentialid"), has(ctx, "applicationcredentialname"));
    if id || name {
        if !has(ctx, "applicationcredentialsecret") {
            ctx.error(&key("applicationcredentialsecret"), "is missing, since the application credential is named");
        }
        if !id && !has(ctx, "username") {
            ctx.error(&key("username"), "is missing: the name of an application credential belongs to a user");
        }
        ctx.shadowed(&key("password"), &key("applicationcredentialsecret"));
        return;
    }
    if has(ctx, "tokenid") {
        ctx.shadowed(&key("password"), &key("tokenid"));
        return;
    }
    for (name, what) in [("username", "name a user, or an application credential"), ("password", "the user needs one")]
    {
        if !has(ctx, name) {
            ctx.error(&key(name), format!("is missing; {what}"));
        }
    }
}

fn chunk(ctx: &mut Context<'_>) -> u64 {
    let bytes = ctx.count(&key("chunksize")).unwrap_or(SEGMENT);
    if !SEGMENT_RANGE.contains(&bytes) {
        let (first, last) = (SEGMENT_RANGE.start(), SEGMENT_RANGE.end());
        ctx.error(&key("chunksize"), format!("must be from {first} to {last} (bytes)"));
    }
    let used = bytes.clamp(*SEGMENT_USED.start(), *SEGMENT_USED.end());
    if used > bytes {
        ctx.warning(&key("chunksize"), format!("counts as {used}: smaller segments are not sent"));
    } else if used < bytes {
        ctx.warning(&key("chunksize"), format!("counts as {used}: an upload holds no more in memory"));
    }
    used
}
