//! Keys of identity and rights, and everything that only Homeport has.

use super::Kind::{Bool, Choice, Count, Named, Secret, SecretList, Section, Size, Span, Text, TextList};
use super::{Key, fixed, live, ours_fixed, ours_live, refused};

const ANONYMOUS: &[&str] = &["none", "pull", "all"];
const ACCESS: &[&str] = &["READ", "FULL"];
const MISSING_BLOBS: &[&str] = &["refuse", "accept"];
const METRICS: &[&str] = &["off", "open", "authenticated"];

pub(super) const AUTH: &[Key] = &[
    fixed("auth.none", Named, "", "no authentication, as if `auth` were left out"),
    fixed("auth.htpasswd", Named, "", "users from a file of bcrypt hashes"),
    fixed("auth.htpasswd.realm", Text, "", "required; shown by clients"),
    live("auth.htpasswd.path", Text, "", "required; must exist, and is read again when it changes"),
    fixed("auth.openshift", Named, "", "identities and rights of the cluster"),
    fixed("auth.openshift.realm", Text, "", "older place of `openshift.auth.realm`"),
    fixed("auth.openshift.tokenrealm", Text, "", "older place of `openshift.auth.tokenrealm`"),
    refused(
        "auth.token",
        Named,
        "Homeport issues tokens itself, at /token, and trusts no other issuer; remove auth.token and set up users in homeport.users or auth.htpasswd",
    ),
    refused("auth.token.realm", Text, ""),
    refused("auth.token.service", Text, ""),
    refused("auth.token.issuer", Text, ""),
    refused("auth.token.rootcertbundle", Text, ""),
    refused("auth.token.autoredirect", Bool, ""),
    refused("auth.token.autoredirectpath", Text, ""),
    refused("auth.token.signingalgorithms", TextList, ""),
    refused("auth.token.jwks", Text, ""),
    refused(
        "auth.silly",
        Named,
        "it lets everyone in who sends any header; use auth.htpasswd, or homeport.anonymous: all to say so",
    ),
    refused("auth.silly.realm", Text, ""),
    refused("auth.silly.service", Text, ""),
];

pub(super) const HOMEPORT: &[Key] = &[
    ours_live(
        "homeport.anonymous",
        Choice(ANONYMOUS),
        "",
        "what a client without credentials may do. Default: `all` when no authentication and no user is configured, as in distribution; otherwise `none`",
    ),
    ours_live("homeport.users", Section, "", "static users by name"),
    ours_live(
        "homeport.users.*.passwordHash",
        Secret,
        "",
        "required; bcrypt, as printed by `htpasswd -Bnb` or `homeport passwd`",
    ),
    ours_live("homeport.users.*.projects", Section, "", "what the user may see; nothing when left out"),
    ours_live("homeport.users.*.projects.[].name", Text, "", "required; first path segment of the repositories"),
    ours_live("homeport.users.*.projects.[].subPath", Text, "*", "pattern for the rest of the path; `*` spans folders"),
    ours_live(
        "homeport.users.*.projects.[].access",
        Choice(ACCESS),
        "",
        "required; `READ` pulls, `FULL` also pushes and deletes",
    ),
    ours_live(
        "homeport.usersFile",
        Text,
        "",
        "file with the same map of users; read again when it changes. A name may stand in one place only",
    ),
    ours_live(
        "homeport.token.secrets",
        SecretList,
        "",
        "signing secrets, the current one first; older ones are still accepted. At least 16 characters each. Without any, `http.secret` is used",
    ),
    ours_live(
        "homeport.token.secretFiles",
        TextList,
        "",
        "the same, one file per secret; excludes `homeport.token.secrets`",
    ),
    ours_live("homeport.token.expiry", Span, "5m", "life of a token; 60s to 24h"),
    ours_live(
        "homeport.token.refreshExpiry",
        Span,
        "24h",
        "life of a refresh token; not shorter than `homeport.token.expiry`",
    ),
    ours_live(
        "homeport.token.realm",
        Text,
        "",
        "URL that a challenge names. Default: `/token` at `http.host` or at the request's host",
    ),
    ours_live("homeport.token.service", Text, "homeport", "service name of a challenge"),
    ours_live("homeport.limits.read.maxRunning", Count, "0", "requests that read, at the same time; 0 is no limit"),
    ours_live("homeport.limits.read.maxInQueue", Count, "0", "further ones that wait; the rest gets 429"),
    ours_live("homeport.limits.read.maxWaitInQueue", Span, "0s", "longest wait; 0 is for ever"),
    ours_live("homeport.limits.write.maxRunning", Count, "0", "the same for requests that write"),
    ours_live("homeport.limits.write.maxInQueue", Count, "0", ""),
    ours_live("homeport.limits.write.maxWaitInQueue", Span, "0s", ""),
    ours_live(
        "homeport.missingBlobs",
        Choice(MISSING_BLOBS),
        "refuse",
        "manifests with a config or layers that are not in the repository: refuse or accept",
    ),
    ours_fixed("homeport.limits.maxConnections", Count, "10000", "open connections; the next ones wait to be accepted"),
    ours_fixed("homeport.limits.manifestBytes", Size, "4MiB", "largest manifest; at least 4KiB, at most 64MiB"),
    ours_live(
        "homeport.limits.bodyIdle",
        Span,
        "60s",
        "a client that sends nothing of a body for this long gets 408; what came before it stays in its upload",
    ),
    ours_live("homeport.limits.maxUploadBytes", Size, "", "largest blob; no limit when left out"),
    ours_fixed(
        "homeport.uploads.expiry",
        Span,
        "",
        "life of an upload, from its begin. Default: `storage.maintenance.uploadpurging.age`",
    ),
    ours_live(
        "homeport.readOnly",
        Bool,
        "false",
        "same as `storage.maintenance.readonly.enabled`; either of them suffices",
    ),
    ours_live(
        "homeport.redirect.networks",
        TextList,
        "",
        "networks such as `10.0.0.0/8` whose clients are sent to the storage; all when left out",
    ),
    ours_live("homeport.redirect.except", TextList, "", "networks whose clients are not"),
    ours_live(
        "homeport.redirect.life",
        Span,
        "20m",
        "how long the address of a small blob is good; a large one has a minute more for each 100 MiB",
    ),
    ours_live(
        "homeport.redirect.lifeMax",
        Span,
        "2h",
        "the longest life of an address, also where the size of the blob is not known; at most 168h, but with CloudFront",
    ),
    ours_live(
        "homeport.tags.immutable",
        TextList,
        "",
        "patterns `TAG` or `REPOSITORY:TAG` of tags that are never moved or deleted; `*` stands for any characters, `!` in front excepts, the last one that fits counts",
    ),
    ours_live("homeport.catalog.maxEntries", Count, "", "wins over `catalog.maxentries`"),
    ours_live(
        "homeport.metrics.access",
        Choice(METRICS),
        "off",
        "who may read `/extensions/v2/metrics`; `authenticated` when `openshift.metrics.enabled` is set",
    ),
    ours_live("homeport.metrics.secret", Secret, "", "a bearer token that may read the metrics"),
];
