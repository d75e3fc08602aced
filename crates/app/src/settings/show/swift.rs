//! A container of Swift.

use super::{Lines, Shown};
use crate::settings::resolved::Swift;

pub(super) fn show(out: &mut Lines, swift: &Swift) {
    let Swift {
        auth_url,
        auth_version,
        container,
        username,
        password,
        domain,
        domain_id,
        tenant,
        tenant_id,
        tenant_domain,
        tenant_domain_id,
        trust_id,
        credential_id,
        credential_name,
        credential_secret,
        token_id,
        region,
        endpoint_type,
        redirect_endpoint,
        skip_verify,
        ca_file,
        chunk_bytes,
        prefix,
        secret_key,
        access_key,
        container_key,
        address_methods,
    } = swift;
    let texts = [
        ("authurl", Some(auth_url.clone())),
        ("authversion", auth_version.map(|version| version.to_string())),
        ("container", Some(container.clone())),
        ("username", username.clone()),
        ("domain", domain.clone()),
        ("domainid", domain_id.clone()),
        ("tenant", tenant.clone()),
        ("tenantid", tenant_id.clone()),
        ("tenantdomain", tenant_domain.clone()),
        ("tenantdomainid", tenant_domain_id.clone()),
        ("trustid", trust_id.clone()),
        ("applicationcredentialid", credential_id.clone()),
        ("applicationcredentialname", credential_name.clone()),
        ("region", region.clone()),
        ("endpointtype", Some(endpoint_type.clone())),
        ("redirectendpoint", redirect_endpoint.clone()),
        ("insecureskipverify", Some(skip_verify.to_string())),
        ("cafile", ca_file.as_ref().map(|path| path.display().to_string())),
        ("chunksize", Some(chunk_bytes.to_string())),
        ("prefix", Some(prefix.clone()).filter(|prefix| !prefix.is_empty())),
        ("tempurlcontainerkey", Some(container_key.to_string())),
    ];
    for (name, text) in texts.into_iter().filter_map(|(name, text)| Some((name, text?))) {
        out.put(&format!("storage.swift.{name}"), text);
    }
    if !address_methods.is_empty() {
        out.list("storage.swift.tempurlmethods", address_methods);
    }
    let secrets = [
        ("password", password),
        ("applicationcredentialsecret", credential_secret),
        ("tokenid", token_id),
        ("secretkey", secret_key),
        ("accesskey", access_key),
    ];
    for (name, secret) in secrets.into_iter().filter_map(|(name, secret)| Some((name, secret.as_ref()?))) {
        out.at(&format!("storage.swift.{name}"), Shown::Secret(secret.expose().to_owned()));
    }
}
