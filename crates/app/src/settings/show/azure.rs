//! A container of Azure Blob storage.

use super::{Lines, Shown};
use crate::settings::resolved::{Azure, AzureProof};

pub(super) fn show(out: &mut Lines, azure: &Azure) {
    let Azure {
        account_name,
        account_key,
        container,
        realm,
        service_url,
        redirect_endpoint,
        // A part of the connection string.
        signature: _,
        connection_string,
        proof,
        client_id,
        tenant_id,
        client_secret,
        root_directory,
        leading_slash,
        skip_verify,
        ca_file,
    } = azure;
    let proof = proof.map(|proof| match proof {
        AzureProof::SharedKey => "shared_key",
        AzureProof::ClientSecret => "client_secret",
        AzureProof::Default => "default_credentials",
    });
    let texts = [
        ("accountname", Some(account_name.clone())),
        ("container", Some(container.clone())),
        ("realm", Some(realm.clone())),
        ("serviceurl", service_url.clone()),
        ("redirectendpoint", redirect_endpoint.clone()),
        ("rootdirectory", Some(root_directory.clone()).filter(|root| !root.is_empty())),
        ("credentials.type", proof.map(str::to_owned)),
        ("credentials.clientid", client_id.clone()),
        ("credentials.tenantid", tenant_id.clone()),
        ("legacyrootprefix", leading_slash.map(|slash| slash.to_string())),
        ("skipverify", Some(skip_verify.to_string())),
        ("cafile", ca_file.as_ref().map(|file| file.display().to_string())),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            out.put(&format!("storage.azure.{name}"), text);
        }
    }
    let secrets =
        [("accountkey", account_key), ("connectionstring", connection_string), ("credentials.secret", client_secret)];
    for (name, secret) in secrets {
        if let Some(secret) = secret {
            out.at(&format!("storage.azure.{name}"), Shown::Secret(secret.expose().to_owned()));
        }
    }
}
