//! Keys of Google Cloud Storage.

use super::Kind::{Count, Named, Secret, Text};
use super::{Key, fixed, ours_fixed};

pub(super) const GCS: &[Key] = &[
    fixed("storage.gcs", Named, "", "a bucket of Google Cloud Storage; see [storage](storage.md#google-cloud-storage)"),
    fixed("storage.gcs.bucket", Text, "", "required; it must be there"),
    fixed(
        "storage.gcs.keyfile",
        Text,
        "",
        "file of credentials as Google writes them: a service account's key, or workload identity. Without it and \
         `credentials`: `GOOGLE_APPLICATION_CREDENTIALS`, the machine's account",
    ),
    fixed("storage.gcs.credentials.type", Text, "service_account", "the content of such a file, key by key"),
    fixed("storage.gcs.credentials.project_id", Text, "", "not used"),
    fixed("storage.gcs.credentials.private_key_id", Secret, "", "names the key to Google"),
    fixed("storage.gcs.credentials.private_key", Secret, "", "in PEM"),
    fixed("storage.gcs.credentials.client_email", Text, "", "the service account"),
    fixed("storage.gcs.credentials.client_id", Text, "", "not used"),
    fixed("storage.gcs.credentials.auth_uri", Text, "", "not used"),
    fixed("storage.gcs.credentials.token_uri", Text, "", "where tokens come from, if not from Google's own address"),
    fixed("storage.gcs.credentials.auth_provider_x509_cert_url", Text, "", "not used"),
    fixed("storage.gcs.credentials.client_x509_cert_url", Text, "", "not used"),
    fixed("storage.gcs.credentials.universe_domain", Text, "", "not used; `endpoint` has the address"),
    fixed("storage.gcs.rootdirectory", Text, "", "what all keys begin with"),
    fixed(
        "storage.gcs.chunksize",
        Count,
        "8388608",
        "bytes in a part of an upload, a multiple of 262144; less than 5 MiB count as 5 MiB, more than 24 MiB as 24 MiB \
         (distribution: 16777216)",
    ),
    fixed("storage.gcs.maxconcurrency", Count, "50", "requests under way at once; less than 25 count as 25"),
    fixed("storage.gcs.useragent", Text, "homeport", "what the service sees as `User-Agent`"),
    ours_fixed(
        "storage.gcs.endpoint",
        Text,
        "",
        "address of the service, if it is not Google's public one; else `STORAGE_EMULATOR_HOST`. Without TLS no \
         credentials are sent",
    ),
    ours_fixed(
        "storage.gcs.redirectendpoint",
        Text,
        "",
        "address by which clients reach the service, where it is another one; redirects lead there",
    ),
    ours_fixed("storage.gcs.cafile", Text, "", "PEM file with further authorities for the service's certificate"),
];
