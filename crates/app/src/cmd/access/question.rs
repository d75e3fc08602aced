//! Who may do what to which repository: the arguments, understood.

use access::{Action, Caller, Resource, Right, Source, Verb, is_label};
use anyhow::{Context, bail, ensure};
use oci::RepoName;

const NAME_BYTES_MAX: usize = 1024;
const GROUPS_MAX: usize = 1000;

/// One question, as the registry would put it.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) subject: Subject,
    /// With the groups that Kubernetes gives by itself.
    pub(super) caller: Caller,
    pub(super) action: Action,
    pub(super) namespace: String,
    pub(super) path: String,
}

/// Whom a binding would have to name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    User(String),
    ServiceAccount { namespace: String, name: String },
    Anonymous,
}

impl Question {
    pub(super) fn parse(user: &str, groups: &[String], verb: &str, target: &str) -> anyhow::Result<Self> {
        let subject = Subject::parse(user)?;
        ensure!(groups.len() <= GROUPS_MAX, "more than {GROUPS_MAX} groups");
        for group in groups {
            ensure!(is_name(group), "group {group:?} is no name of a group");
        }
        let (namespace, path) = parse_target(target)?;
        Ok(Self { caller: subject.caller(groups), subject, action: parse_verb(verb)?, namespace, path })
    }

    /// The rights of which one suffices; the same as in the registry.
    pub(super) fn rights(&self) -> [Right<'_>; 2] {
        let (accesses, layers) = match self.action {
            Action::Push => (Verb::Create, self.here(Verb::Update, Resource::Layers)),
            Action::Delete => {
                (Verb::Delete, Right { verb: Verb::Delete, resource: Resource::Images, namespace: None, name: None })
            }
            _ => (Verb::Get, self.here(Verb::Get, Resource::Layers)),
        };
        [self.here(accesses, Resource::RepositoryAccesses), layers]
    }

    fn here(&self, verb: Verb, resource: Resource) -> Right<'_> {
        Right { verb, resource, namespace: Some(&self.namespace), name: Some(&self.path) }
    }
}

impl Subject {
    fn parse(text: &str) -> anyhow::Result<Self> {
        ensure!(is_name(text), "user {text:?} is no name of a user");
        if let Some(user) = text.strip_prefix("user/") {
            ensure!(!user.is_empty(), "a name is missing after user/");
            return Ok(Self::User(user.to_owned()));
        }
        if text == "system:anonymous" {
            return Ok(Self::Anonymous);
        }
        let full = text.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
        let short = text.strip_prefix("sa/").and_then(|rest| rest.split_once('/'));
        if full.is_some() || short.is_some() || text.starts_with("system:serviceaccount:") || text.starts_with("sa/") {
            let account = full.or(short).filter(|(namespace, name)| is_label(namespace) && is_object_name(name));
            let (namespace, name) = account.with_context(|| {
                format!("{text:?} is no ServiceAccount; write system:serviceaccount:NAMESPACE:NAME, or user/{text} for a user")
            })?;
            return Ok(Self::service_account(namespace, name));
        }
        Ok(match text.split_once(':') {
            Some((namespace, name)) if is_label(namespace) && is_object_name(name) => {
                Self::service_account(namespace, name)
            }
            _ => Self::User(text.to_owned()),
        })
    }

    fn service_account(namespace: &str, name: &str) -> Self {
        Self::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn caller(&self, groups: &[String]) -> Caller {
        let (name, implied) = match self {
            // Its group comes with it.
            Self::Anonymous => return Caller::anonymous(),
            Self::User(name) => (name.clone(), Vec::new()),
            Self::ServiceAccount { namespace, name } => (
                format!("system:serviceaccount:{namespace}:{name}"),
                vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")],
            ),
        };
        let mut all = groups.to_vec();
        all.extend(implied);
        all.push("system:authenticated".to_owned());
        all.sort();
        all.dedup();
        Caller::named(&name, Source::Cluster).with_groups(all)
    }
}

fn parse_verb(verb: &str) -> anyhow::Result<Action> {
    Ok(match verb {
        "pull" | "get" => Action::Pull,
        "push" | "create" | "update" => Action::Push,
        "delete" => Action::Delete,
        _ => bail!("verb {verb:?} is unknown; write pull, push or delete"),
    })
}

fn parse_target(target: &str) -> anyhow::Result<(String, String)> {
    let hint = "write NAMESPACE/PATH, without host and tag";
    RepoName::parse(target).with_context(|| format!("{target:?} is no name of a repository; {hint}"))?;
    let Some((namespace, path)) = target.split_once('/') else {
        bail!("{target:?} has no path below a namespace; {hint}");
    };
    ensure!(is_label(namespace), "{namespace:?} cannot be a namespace; {hint}");
    Ok((namespace.to_owned(), path.to_owned()))
}

fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn is_object_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(user: &str, groups: &[&str], verb: &str, target: &str) -> anyhow::Result<Question> {
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        Question::parse(user, &groups, verb, target)
    }

    #[test]
    fn users_and_service_accounts_get_the_groups_that_kubernetes_gives() {
        for (user, name, groups) in [
            ("alice", "alice", "system:authenticated"),
            ("user/oidc:alice", "oidc:alice", "system:authenticated"),
            ("oidc:Alice", "oidc:Alice", "system:authenticated"),
            ("https://issuer#alice", "https://issuer#alice", "system:authenticated"),
            (
                "system:serviceaccount:shop:ci",
                "system:serviceaccount:shop:ci",
                "system:authenticated,system:serviceaccounts,system:serviceaccounts:shop",
            ),
            (
                "shop:ci.v2",
                "system:serviceaccount:shop:ci.v2",
                "system:authenticated,system:serviceaccounts,system:serviceaccounts:shop",
            ),
            (
                "sa/shop/ci",
                "system:serviceaccount:shop:ci",
                "system:authenticated,system:serviceaccounts,system:serviceaccounts:shop",
            ),
        ] {
            let caller = ask(user, &[], "pull", "shop/app").unwrap().caller;
            assert_eq!(caller.name(), Some(name), "{user}");
            assert_eq!(caller.groups().join(","), groups, "{user}");
        }
        let caller = ask("alice", &["devs", "devs"], "pull", "shop/app").unwrap().caller;
        assert_eq!(caller.groups().join(","), "devs,system:authenticated");
        assert!(ask("system:anonymous", &[], "pull", "shop/app").unwrap().caller.is_anonymous());
    }

    #[test]
    fn verbs_become_the_rights_of_which_one_suffices() {
        let rights = |verb: &str| {
            let question = ask("alice", &[], verb, "shop/app/web").unwrap();
            question.rights().map(|right| right.to_string())
        };
        let accesses = "payloadrepositoryaccesses.payload-registry.deckhouse.io \"app/web\" in namespace \"shop\"";
        let layers = "imagestreams/layers.image.openshift.io \"app/web\" in namespace \"shop\"";
        for verb in ["pull", "get"] {
            assert_eq!(rights(verb), [format!("get {accesses}"), format!("get {layers}")]);
        }
        for verb in ["push", "create", "update"] {
            assert_eq!(rights(verb), [format!("create {accesses}"), format!("update {layers}")]);
        }
        assert_eq!(
            rights("delete"),
            [format!("delete {accesses}"), "delete images.image.openshift.io in all namespaces".to_owned()]
        );
    }

    #[test]
    fn arguments_that_mean_nothing_are_refused() {
        for (user, groups, verb, target, part) in [
            ("", &[][..], "pull", "shop/app", "no name of a user"),
            ("a\nb", &[], "pull", "shop/app", "no name of a user"),
            ("user/", &[], "pull", "shop/app", "missing after user/"),
            ("sa/shop", &[], "pull", "shop/app", "is no ServiceAccount"),
            ("sa/Shop/ci", &[], "pull", "shop/app", "is no ServiceAccount"),
            ("system:serviceaccount:shop", &[], "pull", "shop/app", "is no ServiceAccount"),
            ("alice", &[""], "pull", "shop/app", "no name of a group"),
            ("alice", &[], "list", "shop/app", "write pull, push or delete"),
            ("alice", &[], "pull", "shop", "no path below a namespace"),
            ("alice", &[], "pull", "shop/app:1", "without host and tag"),
            ("alice", &[], "pull", "Shop/app", "no name of a repository"),
            ("alice", &[], "pull", "shop/../other", "no name of a repository"),
            ("alice", &[], "pull", "my_shop/app", "cannot be a namespace"),
            ("alice", &[], "pull", "registry.example/shop/app", "cannot be a namespace"),
        ] {
            let error = format!("{:#}", ask(user, groups, verb, target).expect_err(part));
            assert!(error.contains(part), "{error}");
        }
    }
}
