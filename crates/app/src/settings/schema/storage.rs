//! Keys of the storage and of what may be stored.

use super::Kind::{Bool, Choice, Count, Integer, Named, Secret, Section, Span, Text, TextList};
use super::{Key, fixed, live, refused, warned};

const CACHES: &[&str] = &["inmemory", "redis"];
const PLATFORMS: &[&str] = &["all", "none", "list"];

pub(super) const STORAGE: &[Key] = &[
    fixed("storage.filesystem", Named, "", "files below one directory"),
    fixed(
        "storage.filesystem.rootdirectory",
        Text,
        "/var/lib/registry",
        "without a configuration file `./homeport-data`",
    ),
    warned(
        "storage.filesystem.maxthreads",
        Count,
        "threads follow the machine; limit requests with homeport.limits instead",
    ),
    live(
        "storage.delete.enabled",
        Bool,
        "false",
        "manifests and blobs may be deleted; `true` without a configuration file",
    ),
    live(
        "storage.redirect.disable",
        Bool,
        "false",
        "never sends a client to the bucket itself; has no effect on files",
    ),
    fixed("storage.maintenance.uploadpurging.enabled", Bool, "true", "unfinished uploads are removed"),
    fixed("storage.maintenance.uploadpurging.age", Span, "168h", "an upload that was begun so long ago is removed"),
    fixed("storage.maintenance.uploadpurging.interval", Span, "24h", "how often to look"),
    fixed(
        "storage.maintenance.uploadpurging.dryrun",
        Bool,
        "false",
        "only logs what it would remove; what broken uploads left in a bucket stays",
    ),
    live(
        "storage.maintenance.readonly.enabled",
        Bool,
        "false",
        "refuses everything that writes; a registry that was started so needs a restart to write",
    ),
    fixed(
        "storage.cache.blobdescriptor",
        Choice(CACHES),
        "inmemory",
        "the cache is always in memory; `redis` is a warning",
    ),
    fixed("storage.cache.layerinfo", Choice(CACHES), "", "old name of `storage.cache.blobdescriptor`"),
    fixed(
        "storage.cache.blobdescriptorsize",
        Count,
        "10000",
        "entries; 0, unlimited in distribution, means the default here, with a warning",
    ),
    warned("storage.tag.concurrencylimit", Count, "tags are found by an index, not by reading them all"),
];

pub(super) const DRIVERS: &[Key] = &[
    refused(
        "storage.inmemory",
        Named,
        "nothing is kept in memory only. Use storage.filesystem with a temporary directory",
    ),
    refused("storage.oss", Named, "there is no driver of its own. Use storage.s3 with the service's S3 address"),
    refused("storage.oss.accesskeyid", Secret, ""),
    refused("storage.oss.accesskeysecret", Secret, ""),
    refused("storage.oss.region", Text, ""),
    refused("storage.oss.endpoint", Text, ""),
    refused("storage.oss.internal", Bool, ""),
    refused("storage.oss.bucket", Text, ""),
    refused("storage.oss.encrypt", Bool, ""),
    refused("storage.oss.secure", Bool, ""),
    refused("storage.oss.chunksize", Count, ""),
    refused("storage.oss.rootdirectory", Text, ""),
];

pub(super) const CONTENT: &[Key] = &[
    live("validation.disabled", Bool, "false", "accepts manifests with any URLs, and indexes with missing images"),
    live("validation.enabled", Bool, "", "deprecated by distribution; `true` wins over `validation.disabled`"),
    live(
        "validation.manifests.urls.allow",
        TextList,
        "",
        "regular expressions; the URLs of a layer must match one. Without any rule all are accepted (distribution: none)",
    ),
    live("validation.manifests.urls.deny", TextList, "", "regular expressions; none may match"),
    live(
        "validation.manifests.indexes.platforms",
        Choice(PLATFORMS),
        "none",
        "which images of an index must be there: all, none, or those of `platformlist` (distribution's default: all)",
    ),
    live("validation.manifests.indexes.platformlist", Section, "", "needs `platforms: list`"),
    live("validation.manifests.indexes.platformlist.[].os", Text, "", "required"),
    live("validation.manifests.indexes.platformlist.[].architecture", Text, "", "required"),
    live("catalog.maxentries", Integer, "1000", "largest page of the catalog; 0 and less mean the default"),
    live("tags.maxtags", Count, "1000", "largest page of a tag list; 0 means the default"),
    warned("policy", Section, "classes of repositories are not supported; rights decide what may be pushed"),
    warned("policy.repository.classes", TextList, ""),
    warned("compatibility", Section, "old image manifests (schema 1) are never accepted"),
    warned("compatibility.schema1.enabled", Bool, ""),
    warned("compatibility.schema1.signingkeyfile", Text, ""),
];
