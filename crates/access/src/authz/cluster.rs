//! Rights of the cluster's users, by the cluster's own rules.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::namespaces::{NamespaceState, Namespaces, UNKNOWN_RETRY, for_writing};
use super::rights::{Reach, Resource, Right, Rights, Verb, Verdict};
use crate::decision::{Action, Authorizer, Deciding, Decision, Target};
use crate::identity::{Caller, Source};
use crate::label::is_label;
use crate::reply::Reply;

/// When to come back while the cluster's API does not answer: about the time between two looks at it.
const AWAY_RETRY: Duration = Duration::from_secs(5);

/// What the rules of a cluster leave to settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterPolicy {
    /// For how long reading goes on by remembered rules when the cluster's API does not answer.
    pub stale_for: Duration,
}

/// Decides for users of the cluster and for callers without credentials; everybody else is refused, since a name
/// means somebody else there.
///
/// * The first segment of a repository's name is a namespace, exactly; the rest is the path that rules name. A name
///   of one segment is refused.
/// * Of the rights for an action any one suffices: those of Deckhouse's `payloadrepositoryaccesses` or those of
///   OpenShift's `imagestreams/layers` and `images`.
/// * A push needs a namespace that exists and is not being deleted, by the word of the cluster.
/// * While the cluster's API does not answer nothing is written, and reading ends after a time.
/// * The catalog is open to every authenticated caller.
pub struct ClusterRules {
    rights: Arc<dyn Rights>,
    namespaces: Arc<dyn Namespaces>,
    reach: Arc<dyn Reach>,
    policy: ClusterPolicy,
}

impl ClusterRules {
    /// Rights, namespaces and reach are asked at each decision.
    #[must_use]
    pub fn new(
        rights: Arc<dyn Rights>,
        namespaces: Arc<dyn Namespaces>,
        reach: Arc<dyn Reach>,
        policy: ClusterPolicy,
    ) -> Self {
        Self { rights, namespaces, reach, policy }
    }

    fn is_cut_off(&self, action: Action) -> bool {
        let writes = matches!(action, Action::Push | Action::Delete);
        self.reach.away_for().is_some_and(|away| writes || away > self.policy.stale_for)
    }

    /// Whether any of the rights is granted.
    fn ask<'a>(&'a self, caller: &'a Caller, rights: Enough<'a>) -> Reply<'a, Verdict> {
        let second = move || rights.second.map(|right| self.rights.check(caller, right));
        match self.rights.check(caller, rights.first) {
            Reply::Ready(Verdict::Granted) => Reply::Ready(Verdict::Granted),
            Reply::Ready(first) => match second() {
                Some(second) => second.map(move |second| either(first, second)),
                None => Reply::Ready(first),
            },
            Reply::Pending(first) => Reply::pending(async move {
                let first = first.await;
                match second() {
                    Some(second) if first != Verdict::Granted => either(first, second.await),
                    _ => first,
                }
            }),
        }
    }

    /// What a verdict means for the action.
    fn conclude<'a>(&'a self, verdict: Verdict, caller: &'a Caller, wish: Wish<'a>) -> Deciding<'a> {
        let Wish { action, target, rights } = wish;
        match (verdict, rights.first.namespace) {
            (Verdict::Unavailable { retry_after }, _) => Reply::Ready(Decision::Unavailable { retry_after }),
            (Verdict::NotGranted, _) => Reply::Ready(Decision::deny(caller, action, target, Missing::of(caller, wish))),
            (Verdict::Granted, Some(namespace)) if action == Action::Push => for_writing(&*self.namespaces, namespace)
                .map(move |state| match state {
                    NamespaceState::Exists(_) => Decision::Allow,
                    NamespaceState::Terminating(_) => {
                        Decision::deny(caller, action, target, Missing::Terminating(namespace))
                    }
                    NamespaceState::Absent => Decision::deny(caller, action, target, Missing::Namespace(namespace)),
                    NamespaceState::Unknown => Decision::Unavailable { retry_after: UNKNOWN_RETRY },
                }),
            (Verdict::Granted, _) => Reply::Ready(Decision::Allow),
        }
    }
}

impl Authorizer for ClusterRules {
    fn decide<'a>(&'a self, caller: &'a Caller, action: Action, target: Target<'a>) -> Deciding<'a> {
        let rights = match enough(caller, action, target) {
            Ok(Some(rights)) => rights,
            Ok(None) => return Reply::Ready(Decision::Allow),
            Err(missing) => return Reply::Ready(Decision::deny(caller, action, target, missing)),
        };
        if self.is_cut_off(action) {
            return Reply::Ready(Decision::Unavailable { retry_after: AWAY_RETRY });
        }
        let wish = Wish { action, target, rights };
        match self.ask(caller, rights) {
            Reply::Ready(verdict) => self.conclude(verdict, caller, wish),
            Reply::Pending(asking) => Reply::pending(async move { self.conclude(asking.await, caller, wish).await }),
        }
    }

    fn may_have_any(&self, caller: &Caller, action: Action, namespace: &str) -> bool {
        if !matches!(caller.source(), Source::Cluster | Source::Anonymous) {
            return false;
        }
        rights(action, namespace, None).is_some_and(|Enough { first, second }| {
            [Some(first), second].into_iter().flatten().any(|right| self.rights.may_have_any(caller, right))
        })
    }

    fn grants_stamp(&self, caller: &Caller, namespace: Option<&str>) -> u64 {
        self.rights.stamp(caller, namespace)
    }
}

/// Rights of which one is enough.
#[derive(Clone, Copy)]
struct Enough<'a> {
    first: Right<'a>,
    second: Option<Right<'a>>,
}

#[derive(Clone, Copy)]
struct Wish<'a> {
    action: Action,
    target: Target<'a>,
    rights: Enough<'a>,
}

/// The rights for an action; `None` when it needs none.
fn enough<'a>(caller: &Caller, action: Action, target: Target<'a>) -> Result<Option<Enough<'a>>, Missing<'a>> {
    if !matches!(caller.source(), Source::Cluster | Source::Anonymous) {
        return Err(Missing::NotOfCluster);
    }
    match (target, action) {
        (Target::Catalog, Action::Catalog) if caller.is_anonymous() => Err(Missing::Authentication),
        (Target::Catalog, Action::Catalog) => Ok(None),
        (Target::Metrics, Action::Metrics) => {
            let first = Right { verb: Verb::Get, resource: Resource::Metrics, namespace: None, name: None };
            Ok(Some(Enough { first, second: None }))
        }
        (Target::Repository(name), _) => repository(action, name).map(Some),
        _ => Err(Missing::NoSuchRight),
    }
}

fn repository(action: Action, repository: &str) -> Result<Enough<'_>, Missing<'_>> {
    let (namespace, path) = repository.split_once('/').ok_or(Missing::Segment)?;
    if !is_label(namespace) {
        return Err(Missing::NoNamespace(namespace));
    }
    if path.is_empty() {
        return Err(Missing::Segment);
    }
    rights(action, namespace, Some(path)).ok_or(Missing::NoSuchRight)
}

/// The rights for an action on a repository of `namespace`.
fn rights<'a>(action: Action, namespace: &'a str, path: Option<&'a str>) -> Option<Enough<'a>> {
    let here = |verb, resource| Right { verb, resource, namespace: Some(namespace), name: path };
    let (first, second) = match action {
        Action::Pull => (here(Verb::Get, Resource::RepositoryAccesses), here(Verb::Get, Resource::Layers)),
        Action::Push => (here(Verb::Create, Resource::RepositoryAccesses), here(Verb::Update, Resource::Layers)),
        Action::Delete => {
            let prune = Right { verb: Verb::Delete, resource: Resource::Images, namespace: None, name: None };
            (here(Verb::Delete, Resource::RepositoryAccesses), prune)
        }
        Action::Catalog | Action::Metrics => return None,
    };
    Some(Enough { first, second: Some(second) })
}

/// The better of two verdicts; not to know one counts when the other does not decide.
fn either(first: Verdict, second: Verdict) -> Verdict {
    match (first, second) {
        (Verdict::Granted, _) | (_, Verdict::Granted) => Verdict::Granted,
        (unknown @ Verdict::Unavailable { .. }, _) | (_, unknown @ Verdict::Unavailable { .. }) => unknown,
        (Verdict::NotGranted, Verdict::NotGranted) => Verdict::NotGranted,
    }
}

/// What a refused caller would need.
enum Missing<'a> {
    Authentication,
    NotOfCluster,
    NoSuchRight,
    Segment,
    NoNamespace(&'a str),
    Namespace(&'a str),
    Terminating(&'a str),
    Rights(Enough<'a>),
}

impl<'a> Missing<'a> {
    fn of(caller: &Caller, wish: Wish<'a>) -> Self {
        if caller.is_anonymous() { Self::Authentication } else { Self::Rights(wish.rights) }
    }
}

impl fmt::Display for Missing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authentication => f.write_str("authentication is required"),
            Self::NotOfCluster => f.write_str("rights of the cluster are for users of the cluster"),
            Self::NoSuchRight => f.write_str("there is no such right"),
            Self::Segment => f.write_str("the name has one segment, repositories are named <namespace>/<path>"),
            Self::NoNamespace(name) => write!(f, "{name:?} cannot be the name of a namespace"),
            Self::Namespace(name) => write!(f, "namespace {name:?} does not exist"),
            Self::Terminating(name) => write!(f, "namespace {name:?} is being deleted"),
            Self::Rights(Enough { first, second: None }) => write!(f, "no rule grants {first}"),
            Self::Rights(Enough { first, second: Some(second) }) => write!(f, "no rule grants {first}, or {second}"),
        }
    }
}
