//! Questions to the rules of a cluster, and who answers them.

use std::fmt;
use std::time::Duration;

use crate::identity::Caller;
use crate::reply::Reply;

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// `payloadrepositoryaccesses` of Deckhouse: names are patterns of the path below the namespace.
    RepositoryAccesses,
    /// `imagestreams/layers` of OpenShift: a name is the path below the namespace, exactly.
    Layers,
    /// `imagestreams` of OpenShift.
    ImageStreams,
    /// `images` of OpenShift, cluster-wide.
    Images,
    /// `registry/metrics` of OpenShift, cluster-wide.
    Metrics,
}

impl Resource {
    /// The API groups that the resource is known in, the usual one first.
    #[must_use]
    pub const fn groups(self) -> &'static [&'static str] {
        match self {
            Self::RepositoryAccesses => &["payload-registry.deckhouse.io"],
            // Roles of OpenShift's first years name the empty group.
            Self::Layers | Self::ImageStreams | Self::Images | Self::Metrics => &["image.openshift.io", ""],
        }
    }

    /// The name in rules, the sub-resource included.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RepositoryAccesses => "payloadrepositoryaccesses",
            Self::Layers => "imagestreams/layers",
            Self::ImageStreams => "imagestreams",
            Self::Images => "images",
            Self::Metrics => "registry/metrics",
        }
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Read one.
    Get,
    /// Read all.
    List,
    /// Make one.
    Create,
    /// Change one.
    Update,
    /// Remove one.
    Delete,
}

impl Verb {
    /// The name in rules.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// One question: may a caller do `verb` to `resource`?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Right<'a> {
    /// What is to be done.
    pub verb: Verb,
    /// To what.
    pub resource: Resource,
    /// Where; `None` asks for the right in the whole cluster.
    pub namespace: Option<&'a str>,
    /// To which of them; `None` asks for all.
    pub name: Option<&'a str>,
}

impl fmt::Display for Right<'_> {
    /// `get payloadrepositoryaccesses.payload-registry.deckhouse.io "app" in namespace "shop"`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = self.resource.groups().first().copied().unwrap_or_default();
        write!(f, "{} {}.{group}", self.verb.as_str(), self.resource.as_str())?;
        if let Some(name) = self.name {
            write!(f, " {name:?}")?;
        }
        match self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace:?}"),
            None => f.write_str(" in all namespaces"),
        }
    }
}

/// The answer to a [`Right`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Some rule grants it.
    Granted,
    /// No rule grants it.
    NotGranted,
    /// Nobody can tell now.
    Unavailable {
        /// When another try makes sense.
        retry_after: Duration,
    },
}

/// The rules of a cluster.
pub trait Rights: Send + Sync {
    /// Whether the rules let `caller` have `right`, now.
    fn check<'a>(&'a self, caller: &'a Caller, right: Right<'a>) -> Reply<'a, Verdict>;

    /// False when no rule grants `right` for any name. Answers from memory; true whenever it would take more.
    fn may_have_any(&self, _caller: &Caller, _right: Right<'_>) -> bool {
        true
    }

    /// Equal ones mean that the caller's rights in `namespace`, or anywhere, are the same. Always 0 where nobody can tell
    /// from memory.
    fn stamp(&self, _caller: &Caller, _namespace: Option<&str>) -> u64 {
        0
    }
}

/// Whether the cluster's API answers. What is remembered from it stays good for reading for a time when it does not.
pub trait Reach: Send + Sync {
    /// For how long it has not answered; `None` while it does. Answers from memory.
    fn away_for(&self) -> Option<Duration>;
}
