//! A bucket of S3.

use super::{Lines, Shown};
use crate::settings::resolved::S3;
use std::path::PathBuf;

pub(super) fn show(out: &mut Lines, s3: &S3) {
    let S3 {
        bucket,
        region,
        region_endpoint,
        redirect_endpoint,
        force_path_style,
        virtual_hosted_style,
        secure,
        skip_verify,
        ca_file,
        dual_stack,
        access_key,
        secret_key,
        session_token,
        credentials_file,
        encrypt,
        key_id,
        storage_class,
        root_directory,
        user_agent,
        chunk_bytes,
        copy_threshold_bytes,
        copy_chunk_bytes,
        copies_max,
    } = s3;
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let truth = |truth: &Option<bool>| truth.map(|truth| truth.to_string());
    let texts = [
        ("bucket", Some(bucket.clone())),
        ("region", region.clone()),
        ("regionendpoint", region_endpoint.clone()),
        ("redirectendpoint", redirect_endpoint.clone()),
        ("forcepathstyle", truth(force_path_style)),
        ("virtualhostedstyle", truth(virtual_hosted_style)),
        ("secure", Some(secure.to_string())),
        ("skipverify", Some(skip_verify.to_string())),
        ("cafile", path(ca_file)),
        ("usedualstack", Some(dual_stack.to_string())),
        ("credentialsconfigpath", path(credentials_file)),
        ("rootdirectory", Some(root_directory.clone()).filter(|root| !root.is_empty())),
        ("encrypt", Some(encrypt.to_string())),
        ("keyid", key_id.clone()),
        ("storageclass", Some(storage_class.clone())),
        ("chunksize", Some(chunk_bytes.to_string())),
        ("multipartcopythresholdsize", Some(copy_threshold_bytes.to_string())),
        ("multipartcopychunksize", Some(copy_chunk_bytes.to_string())),
        ("multipartcopymaxconcurrency", Some(copies_max.to_string())),
        ("useragent", user_agent.clone()),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            out.put(&format!("storage.s3.{name}"), text);
        }
    }
    for (name, secret) in [("accesskey", access_key), ("secretkey", secret_key), ("sessiontoken", session_token)] {
        if let Some(secret) = secret {
            out.at(&format!("storage.s3.{name}"), Shown::Secret(secret.expose().to_owned()));
        }
    }
}
