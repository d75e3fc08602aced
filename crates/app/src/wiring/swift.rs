//! A container of Swift, by the settings.

use crate::settings;
use bucket::Secret;
use bucket::swift::{EndpointType, SwiftSettings};
use bucket::{BucketDriver, Budget};

pub(super) async fn open(swift: &settings::Swift, read_only: bool) -> anyhow::Result<BucketDriver> {
    let secret = |secret: &settings::Secret| Secret(secret.expose().to_owned());
    let settings = SwiftSettings {
        auth_url: swift.auth_url.clone(),
        auth_version: swift.auth_version,
        container: swift.container.clone(),
        username: swift.username.clone(),
        password: swift.password.as_ref().map(secret),
        domain: swift.domain.clone(),
        domain_id: swift.domain_id.clone(),
        tenant: swift.tenant.clone(),
        tenant_id: swift.tenant_id.clone(),
        tenant_domain: swift.tenant_domain.clone(),
        tenant_domain_id: swift.tenant_domain_id.clone(),
        trust_id: swift.trust_id.clone(),
        credential_id: swift.credential_id.clone(),
        credential_name: swift.credential_name.clone(),
        credential_secret: swift.credential_secret.as_ref().map(secret),
        token_id: swift.token_id.as_ref().map(secret),
        region: swift.region.clone(),
        endpoint_type: match swift.endpoint_type.as_str() {
            "internal" => EndpointType::Internal,
            "admin" => EndpointType::Admin,
            _ => EndpointType::Public,
        },
        redirect_endpoint: swift.redirect_endpoint.clone(),
        skip_verify: swift.skip_verify,
        ca_file: swift.ca_file.clone(),
        chunk_size: swift.chunk_bytes,
        prefix: swift.prefix.clone(),
        secret_key: swift.secret_key.as_ref().map(secret),
        access_key: swift.access_key.as_ref().map(|key| key.expose().to_owned()),
        temp_url_container_key: swift.container_key,
        temp_url_methods: swift.address_methods.clone(),
    };
    Ok(bucket::swift::open(settings, read_only, Budget::new(Budget::DEFAULT_BYTES)).await?)
}
