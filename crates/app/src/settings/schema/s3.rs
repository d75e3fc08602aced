//! Keys of S3.

use super::Kind::{Anything, Bool, Choice, Count, Named, Secret, Text};
use super::{Key, fixed, ours_fixed, refused, warned};

/// Classes whose objects can be read at once.
const CLASSES: &[&str] = &[
    "NONE",
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "OUTPOSTS",
    "GLACIER_IR",
    "EXPRESS_ONEZONE",
];

pub(super) const S3: &[Key] = &[
    fixed(
        "storage.s3",
        Named,
        "",
        "a bucket of Amazon's or of any other service that speaks S3; see [storage](storage.md)",
    ),
    fixed("storage.s3.bucket", Text, "", "required; it must be there"),
    fixed(
        "storage.s3.region",
        Text,
        "",
        "else `AWS_REGION` or `AWS_DEFAULT_REGION`; required without `regionendpoint`, with it `us-east-1`",
    ),
    fixed(
        "storage.s3.regionendpoint",
        Text,
        "",
        "address of a service that is not Amazon's. Its scheme wins over `secure`",
    ),
    fixed(
        "storage.s3.redirectendpoint",
        Text,
        "",
        "address by which clients reach the service, where it is another one; redirects lead there",
    ),
    fixed(
        "storage.s3.forcepathstyle",
        Bool,
        "",
        "the bucket is in the path and not in the host name; `true` with `regionendpoint`, as in distribution 2.8 \
         (distribution 3: `false`), else `false`. Alibaba's OSS needs `false`",
    ),
    fixed("storage.s3.virtualhostedstyle", Bool, "", "the opposite, as OpenShift says it"),
    fixed("storage.s3.secure", Bool, "true", "HTTPS, where `regionendpoint` has no scheme"),
    fixed("storage.s3.skipverify", Bool, "false", "takes any certificate of the service; `cafile` is the better way"),
    ours_fixed("storage.s3.cafile", Text, "", "PEM file with further authorities for the service's certificate"),
    fixed("storage.s3.usedualstack", Bool, "false", "Amazon's addresses for IPv6 and IPv4"),
    fixed(
        "storage.s3.accesskey",
        Secret,
        "",
        "without keys and file: the environment, web identity, the machine's role",
    ),
    fixed("storage.s3.secretkey", Secret, "", "with `accesskey`"),
    fixed("storage.s3.sessiontoken", Secret, "", "belongs to keys that are good for a time only"),
    fixed(
        "storage.s3.credentialsconfigpath",
        Text,
        "",
        "credentials file as Amazon's tools have it, with keys or a role; read again when it changes",
    ),
    fixed("storage.s3.rootdirectory", Text, "", "what all keys begin with"),
    fixed("storage.s3.encrypt", Bool, "false", "the service encrypts what it stores"),
    fixed("storage.s3.keyid", Text, "", "with this key of its key service; needs `encrypt: true`"),
    fixed("storage.s3.storageclass", Choice(CLASSES), "STANDARD", "`NONE` for services that know no classes"),
    fixed(
        "storage.s3.chunksize",
        Count,
        "8388608",
        "bytes in a part of an upload, from 5 MiB; more than 24 MiB count as 24 MiB",
    ),
    fixed("storage.s3.multipartcopythresholdsize", Count, "33554432", "larger objects are copied in parts"),
    fixed("storage.s3.multipartcopychunksize", Count, "33554432", "bytes in a part of a copy"),
    fixed(
        "storage.s3.multipartcopymaxconcurrency",
        Count,
        "16",
        "parts of a copy under way at once (distribution: 100)",
    ),
    fixed("storage.s3.useragent", Text, "homeport", "what the service sees as `User-Agent`"),
    fixed("storage.s3.v4auth", Bool, "true", "`false` is a warning: requests are always signed by version 4"),
    fixed(
        "storage.s3.objectacl",
        Text,
        "private",
        "no other value is accepted: let the bucket's policy say who else may read",
    ),
    warned("storage.s3.accelerate", Bool, "name the accelerated address as regionendpoint instead"),
    warned("storage.s3.loglevel", Text, "write `log.level: debug` instead"),
    refused("storage.s3.usefipsendpoint", Bool, "the cryptography of this build is not certified"),
    fixed("storage.s3aws", Named, "", "the driver's other name; it has the same keys"),
    fixed("storage.s3aws.*", Anything, "", "as `storage.s3.*`; variables too"),
];
