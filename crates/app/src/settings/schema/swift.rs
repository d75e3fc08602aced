//! Keys of Swift.

use super::Kind::{Bool, Choice, Count, Named, Secret, Text, TextList};
use super::{Key, fixed, ours_fixed, warned};

pub(super) const SWIFT: &[Key] = &[
    fixed("storage.swift", Named, "", "a container of OpenStack's object store; see [storage](storage.md)"),
    fixed("storage.swift.authurl", Text, "", "required; the identity service, such as `https://keystone:5000/v3`"),
    fixed("storage.swift.authversion", Count, "", "1 (Swift's own), 2 or 3; else what `authurl` tells"),
    fixed("storage.swift.container", Text, "", "required; it is made when it is missing"),
    fixed("storage.swift.username", Text, "", "of the user; not needed with `applicationcredentialid` or `tokenid`"),
    fixed("storage.swift.password", Secret, "", "with `username`"),
    fixed("storage.swift.domain", Text, "Default", "domain of the user"),
    fixed("storage.swift.domainid", Text, "", "the same by its id"),
    fixed("storage.swift.tenant", Text, "", "the project"),
    fixed("storage.swift.tenantid", Text, "", "the same by its id"),
    fixed("storage.swift.tenantdomain", Text, "", "domain of the project, if it is not the user's"),
    fixed("storage.swift.tenantdomainid", Text, "", "the same by its id"),
    fixed("storage.swift.trustid", Text, "", "a trust in place of the project"),
    fixed("storage.swift.applicationcredentialid", Text, "", "an application credential in place of user and project"),
    fixed("storage.swift.applicationcredentialname", Text, "", "the same by its name; needs `username` and its domain"),
    fixed("storage.swift.applicationcredentialsecret", Secret, "", "with either of them"),
    fixed("storage.swift.tokenid", Secret, "", "a token that somebody else got; when it ends, so does all access"),
    fixed("storage.swift.region", Text, "", "without it the first one of the catalogue"),
    fixed(
        "storage.swift.endpointtype",
        Choice(&["public", "internal", "admin"]),
        "public",
        "which address of the catalogue is used; clients that are redirected must reach it, or `redirectendpoint`",
    ),
    ours_fixed(
        "storage.swift.redirectendpoint",
        Text,
        "",
        "address by which clients reach the service, where it is another one; redirects lead there. The account's path, such \
         as `/v1/AUTH_…`, follows it, unless it ends with that",
    ),
    fixed(
        "storage.swift.insecureskipverify",
        Bool,
        "false",
        "takes any certificate of the services; `cafile` is the better way",
    ),
    ours_fixed("storage.swift.cafile", Text, "", "PEM file with further authorities for the services' certificates"),
    fixed(
        "storage.swift.chunksize",
        Count,
        "8388608",
        "bytes in a segment, from 1 MiB (distribution: 20971520); less than 5 MiB count as 5 MiB, more than 24 MiB as 24 MiB",
    ),
    fixed("storage.swift.prefix", Text, "", "what all names begin with"),
    fixed(
        "storage.swift.secretkey",
        Secret,
        "",
        "signs temporary addresses; without it the key that is there, or one that is made up",
    ),
    fixed("storage.swift.accesskey", Secret, "", "for clouds that want it in temporary addresses"),
    fixed(
        "storage.swift.tempurlcontainerkey",
        Bool,
        "false",
        "the key belongs to the container and not to the account; for services without `/info`",
    ),
    fixed(
        "storage.swift.tempurlmethods",
        TextList,
        "",
        "with `GET` there are temporary addresses; for the same services",
    ),
    warned("storage.swift.rootdirectory", Text, "distribution's driver does not read it either; write `prefix`"),
];
