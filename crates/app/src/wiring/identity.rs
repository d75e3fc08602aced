//! Who may come in, by the settings.

use super::cluster::Kubernetes;
use super::secret::Secrets;
use crate::settings::{self, Auth, Settings};
use access::{
    AnonymousPolicy, AuthenticatedAllowAll, Authenticator, Authorizer, BySource, Chain, Clock, Directory,
    EveryNamespaceExists, Htpasswd, Keys, Namespaces, PasswordLimits, Passwords, Problem, ProjectSpec, Projects,
    Source, StaticUserSpec, StaticUsers, SystemClock, TokenAuthority, TokenSettings, Users, WithAnonymous,
};
use anyhow::Context;
use registry::Identity;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Tokens that are remembered as checked.
const TOKENS_CACHED: usize = 10_000;
/// Difference of clocks between replicas that is put up with.
const LEEWAY: Duration = Duration::from_secs(30);

/// Builds identities; remembers checked passwords from one reload to the next.
pub(crate) struct Identities {
    passwords: Arc<Passwords>,
    clock: Arc<dyn Clock>,
    kubernetes: Option<Arc<Kubernetes>>,
}

impl Identities {
    pub(crate) fn new(kubernetes: Option<Arc<Kubernetes>>) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let passwords = Passwords::new(PasswordLimits::standard(), Arc::clone(&clock))
            .context("the system has no random numbers")?;
        Ok(Self { passwords: Arc::new(passwords), clock, kubernetes })
    }

    /// Authentication and authorisation as the settings want them.
    pub(crate) fn build(&self, settings: &Settings, secrets: &Secrets) -> anyhow::Result<Identity> {
        let htpasswd = self.htpasswd(settings)?;
        let users = self.static_users(settings);
        // A cluster that the settings have dropped stays until a restart.
        let clustered = self.kubernetes.is_some() || settings.kubernetes.is_some();
        if htpasswd.is_none() && users.is_none() && !clustered {
            return open(settings);
        }
        let policy = match settings.anonymous {
            settings::Anonymous::None => AnonymousPolicy::None,
            settings::Anonymous::Pull => AnonymousPolicy::Pull,
            settings::Anonymous::All => AnonymousPolicy::All,
        };
        let mut members: Vec<Arc<dyn Users>> = Vec::new();
        members.extend(htpasswd.clone().map(|users| users as Arc<dyn Users>));
        members.extend(users.clone().map(|users| users as Arc<dyn Users>));
        let tokens = Arc::new(self.tokens(settings, secrets, Arc::new(Directory::new(members)))?);

        let mut chain: Vec<Arc<dyn Authenticator>> =
            vec![Arc::new(access::Anonymous::without_credentials()), Arc::clone(&tokens) as Arc<dyn Authenticator>];
        let mut rights = BySource::new();
        if let Some(users) = users {
            chain.push(Arc::clone(&users) as Arc<dyn Authenticator>);
            rights = rights.with(Source::StaticUser, Arc::new(Projects::new(users, self.namespaces())));
        }
        if let Some(users) = htpasswd {
            chain.push(users);
            rights = rights.with(Source::Htpasswd, Arc::new(AuthenticatedAllowAll));
        }
        if let Some(kubernetes) = &self.kubernetes {
            chain.push(kubernetes.authenticator());
            rights = rights.with(Source::Cluster, kubernetes.rules()).with(Source::Anonymous, kubernetes.rules());
        }
        let authorizer: Arc<dyn Authorizer> = Arc::new(WithAnonymous::new(policy, Arc::new(rights)));
        Ok(Identity {
            authenticator: Arc::new(Chain::new(chain)),
            authorizer,
            tokens: Some(tokens),
            // Roles may let `system:unauthenticated` do something.
            anonymous: settings.anonymous != settings::Anonymous::None || self.kubernetes.is_some(),
            open: false,
            cluster: self.kubernetes.as_ref().map(|kubernetes| kubernetes.cluster()),
        })
    }

    fn namespaces(&self) -> Arc<dyn Namespaces> {
        match &self.kubernetes {
            Some(kubernetes) => kubernetes.namespaces(),
            None => Arc::new(EveryNamespaceExists::new()),
        }
    }

    fn htpasswd(&self, settings: &Settings) -> anyhow::Result<Option<Arc<Htpasswd>>> {
        match &settings.auth {
            // Of OpenShift is the cluster.
            Auth::None | Auth::OpenShift { .. } => Ok(None),
            Auth::Htpasswd { path, .. } => {
                let text = std::fs::read(path)
                    .with_context(|| format!("cannot read auth.htpasswd.path {}", path.display()))?;
                let (users, problems) = Htpasswd::new(&text, Arc::clone(&self.passwords))
                    .with_context(|| format!("auth.htpasswd.path {}", path.display()))?;
                report("auth.htpasswd.path", &problems);
                Ok(Some(Arc::new(users)))
            }
        }
    }

    fn static_users(&self, settings: &Settings) -> Option<Arc<StaticUsers>> {
        if settings.users.is_empty() {
            return None;
        }
        let specs: BTreeMap<String, StaticUserSpec> =
            settings.users.iter().map(|(name, user)| (name.clone(), spec(user))).collect();
        let (users, problems) = StaticUsers::new(&specs, Arc::clone(&self.passwords));
        report("homeport.users", &problems);
        Some(Arc::new(users))
    }

    fn tokens(&self, settings: &Settings, secrets: &Secrets, users: Arc<dyn Users>) -> anyhow::Result<TokenAuthority> {
        let (current, previous) = &secrets.tokens;
        let keys = Keys::new(current, previous.as_deref())
            .context("the secret for tokens (homeport.token.secrets or http.secret) must have at least 16 bytes")?;
        let names = TokenSettings {
            issuer: "homeport".to_owned(),
            service: settings.token.service.clone(),
            access_life: settings.token.expiry,
            refresh_life: settings.token.refresh_expiry,
            leeway: LEEWAY,
        };
        Ok(TokenAuthority::new(names, keys, users, Arc::clone(&self.clock), TOKENS_CACHED))
    }
}

/// Nobody has a name here: either everything is open, or reading is.
fn open(settings: &Settings) -> anyhow::Result<Identity> {
    let policy = match settings.anonymous {
        settings::Anonymous::All => {
            return Ok(Identity {
                authenticator: Arc::new(access::Anonymous::everybody()),
                authorizer: Arc::new(access::AllowAll),
                tokens: None,
                anonymous: true,
                open: true,
                cluster: None,
            });
        }
        settings::Anonymous::Pull => AnonymousPolicy::Pull,
        settings::Anonymous::None => {
            anyhow::bail!("nobody could use this registry: there are no users and homeport.anonymous is none")
        }
    };
    Ok(Identity {
        authenticator: Arc::new(access::Anonymous::everybody()),
        authorizer: Arc::new(WithAnonymous::new(policy, Arc::new(BySource::new()))),
        tokens: None,
        anonymous: true,
        open: false,
        cluster: None,
    })
}

fn spec(user: &settings::User) -> StaticUserSpec {
    let project = |project: &settings::Project| ProjectSpec {
        name: project.name.clone(),
        sub_path: project.sub_path.clone(),
        access: match project.access {
            settings::ProjectAccess::Read => access::Access::Read,
            settings::ProjectAccess::Full => access::Access::Full,
        },
    };
    StaticUserSpec {
        password_hash: Some(user.password_hash.expose().to_owned()),
        projects: user.projects.iter().map(project).collect(),
    }
}

fn report(key: &str, problems: &[Problem]) {
    for problem in problems {
        tracing::warn!(key, entry = problem.entry, problem = problem.text, "an entry is not usable");
    }
}
