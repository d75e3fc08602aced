//! A container of Azure Blob storage.

use super::Context;
use super::http::service_address;
use crate::settings::Secret;
use crate::settings::resolved::{Azure, AzureProof};

const REALM: &str = "core.windows.net";

pub(super) fn azure(ctx: &mut Context<'_>) -> Azure {
    let text = |ctx: &Context<'_>, name: &str| ctx.text(&key(name)).map(str::to_owned);
    let connection_string = ctx.secret(&key("connectionstring"));
    let connection = connection(ctx, connection_string.as_ref());
    contradictions(ctx);
    let account_name = text(ctx, "accountname").or_else(|| connection.get("AccountName")).unwrap_or_default();
    let container = text(ctx, "container").unwrap_or_default();
    for (what, name, value) in [("account", "accountname", &account_name), ("container", "container", &container)] {
        if value.is_empty() {
            ctx.error(&key(name), format!("is missing; name the {what}"));
        }
    }
    Azure {
        account_key: ctx.secret(&key("accountkey")).or_else(|| connection.secret("AccountKey")),
        container,
        realm: text(ctx, "realm").or_else(|| connection.get("EndpointSuffix")).unwrap_or_else(|| REALM.to_owned()),
        service_url: address(ctx, "serviceurl").or_else(|| connection.service_url(&account_name)),
        redirect_endpoint: address(ctx, "redirectendpoint"),
        signature: connection.secret("SharedAccessSignature"),
        connection_string,
        account_name,
        proof: proof(ctx),
        client_id: text(ctx, "credentials.clientid"),
        tenant_id: text(ctx, "credentials.tenantid"),
        client_secret: ctx.secret(&key("credentials.secret")),
        root_directory: ctx.text(&key("rootdirectory")).unwrap_or_default().trim_matches('/').to_owned(),
        leading_slash: leading_slash(ctx),
        skip_verify: ctx.truth(&key("skipverify")).unwrap_or(false),
        ca_file: ctx.path(&key("cafile")),
    }
}

fn key(name: &str) -> String {
    format!("storage.azure.{name}")
}

fn proof(ctx: &Context<'_>) -> Option<AzureProof> {
    Some(match ctx.word(&key("credentials.type"))?.as_str() {
        "shared_key" => AzureProof::SharedKey,
        "client_secret" => AzureProof::ClientSecret,
        _ => AzureProof::Default,
    })
}

fn leading_slash(ctx: &Context<'_>) -> Option<bool> {
    let trims = ctx.truth(&key("trimlegacyrootprefix")).map(|trims| !trims);
    ctx.truth(&key("legacyrootprefix")).or(trims)
}

fn contradictions(ctx: &mut Context<'_>) {
    let [slash, trims] = ["legacyrootprefix", "trimlegacyrootprefix"].map(key);
    if ctx.truth(&slash).is_some() && ctx.truth(&slash) == ctx.truth(&trims) {
        ctx.error(&trims, format!("contradicts {slash}; keep one of them"));
    }
    if proof(ctx) == Some(AzureProof::ClientSecret) {
        for name in ["credentials.clientid", "credentials.tenantid", "credentials.secret"] {
            if ctx.text(&key(name)).is_none() {
                ctx.error(&key(name), "is missing, since storage.azure.credentials.type is client_secret");
            }
        }
    }
    if matches!(proof(ctx), Some(AzureProof::ClientSecret | AzureProof::Default)) && ctx.has(&key("accountkey")) {
        ctx.warning(&key("accountkey"), "signs nothing: storage.azure.credentials.type says otherwise, and wins");
    }
}

fn address(ctx: &mut Context<'_>, name: &str) -> Option<String> {
    service_address(ctx, &key(name), "https://account.blob.core.windows.net")
}

/// The parts of a connection string.
struct Connection<'a>(Vec<(&'a str, &'a str)>);

fn connection<'a>(ctx: &mut Context<'_>, text: Option<&'a Secret>) -> Connection<'a> {
    let parts = text.map(Secret::expose).unwrap_or_default().split(';').map(str::trim).filter(|part| !part.is_empty());
    let pairs: Option<Vec<_>> = parts.map(|part| part.split_once('=')).collect();
    let Some(pairs) = pairs else {
        ctx.error(&key("connectionstring"), "must be pairs such as AccountName=…;AccountKey=…");
        return Connection(Vec::new());
    };
    Connection(pairs)
}

impl Connection<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let found = self.0.iter().find(|(key, value)| key.eq_ignore_ascii_case(name) && !value.is_empty());
        found.map(|(_, value)| (*value).to_owned())
    }

    fn secret(&self, name: &str) -> Option<Secret> {
        self.get(name).map(|value| Secret::new(&value))
    }

    fn service_url(&self, account: &str) -> Option<String> {
        let plain = self.get("DefaultEndpointsProtocol").is_some_and(|scheme| scheme.eq_ignore_ascii_case("http"));
        let suffix = self.get("EndpointSuffix").unwrap_or_else(|| REALM.to_owned());
        self.get("BlobEndpoint").or_else(|| plain.then(|| format!("http://{account}.blob.{suffix}")))
    }
}
