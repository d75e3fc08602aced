//! What the cluster says. Its rules are evaluated by the real evaluator.

use access::{
    Action, Binding, BindingKey, Caller, NamespaceState, NamespaceUid, Namespaces, PolicyRule, Rbac, Reach, Reply,
    ReviewError, Reviewed, Reviewing, Right, Rights, RoleKey, Subject, TokenReviewer, Verdict,
};
use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

pub(crate) struct Script {
    namespaces: Mutex<HashMap<String, NamespaceState>>,
    /// What memory still shows.
    late: Mutex<HashMap<String, NamespaceState>>,
    rbac: Rbac,
    roles: AtomicUsize,
    revoked: Mutex<HashSet<String>>,
    pub(crate) away: AtomicBool,
    pub(crate) undecided: AtomicBool,
    pub(crate) reviews: AtomicUsize,
    /// Questions about namespaces that are written to.
    pub(crate) asked: AtomicUsize,
}

impl Script {
    pub(crate) fn new() -> Self {
        let rbac = Rbac::new();
        rbac.set_complete();
        Self {
            namespaces: Mutex::new(HashMap::from([(
                "kube-system".to_owned(),
                NamespaceState::Exists(NamespaceUid("cluster".into())),
            )])),
            late: Mutex::default(),
            rbac,
            roles: AtomicUsize::new(0),
            revoked: Mutex::default(),
            away: false.into(),
            undecided: false.into(),
            reviews: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
        }
    }

    pub(crate) fn set(&self, namespace: &str, state: NamespaceState) {
        self.namespaces.lock().unwrap().insert(namespace.to_owned(), state);
    }

    pub(crate) fn exists(&self, namespace: &str, uid: &str) {
        self.set(namespace, NamespaceState::Exists(NamespaceUid(uid.into())));
    }

    /// Memory shows this from now on, whatever the namespace is.
    pub(crate) fn lags(&self, namespace: &str, state: NamespaceState) {
        self.late.lock().unwrap().insert(namespace.to_owned(), state);
    }

    fn live(&self, namespace: &str) -> NamespaceState {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.namespaces.lock().unwrap().get(namespace).cloned().unwrap_or(NamespaceState::Absent)
    }

    /// Lets a caller do that with the paths of a namespace that a pattern covers.
    pub(crate) fn grant(&self, subject: Subject, actions: &[Action], namespace: &str, pattern: &str) -> BindingKey {
        let verb = |action: &Action| match action {
            Action::Push => "create",
            Action::Delete => "delete",
            _ => "get",
        };
        let rule = PolicyRule {
            api_groups: vec!["payload-registry.deckhouse.io".into()],
            resources: vec!["payloadrepositoryaccesses".into()],
            verbs: actions.iter().map(|action| verb(action).to_owned()).collect(),
            resource_names: vec![pattern.to_owned()],
        };
        let name: Box<str> = format!("role-{}", self.roles.fetch_add(1, Ordering::SeqCst)).into();
        let role = RoleKey { namespace: Some(namespace.into()), name: name.clone() };
        assert_eq!(self.rbac.apply_role(&role, &[rule]), []);
        let key = BindingKey { namespace: Some(namespace.into()), name };
        self.rbac.apply_binding(&Binding { key: key.clone(), role, subjects: vec![subject] });
        key
    }

    pub(crate) fn revoke(&self, binding: &BindingKey) {
        self.rbac.delete_binding(binding);
    }

    pub(crate) fn revoke_token(&self, token: &str) {
        self.revoked.lock().unwrap().insert(token.to_owned());
    }
}

pub(crate) fn user(name: &str) -> Subject {
    Subject::User(name.into())
}

impl Namespaces for Script {
    fn state(&self, namespace: &str) -> NamespaceState {
        let late = self.late.lock().unwrap().get(namespace).cloned();
        let now = || self.namespaces.lock().unwrap().get(namespace).cloned();
        late.or_else(now).unwrap_or(NamespaceState::Absent)
    }

    fn confirm<'a>(&'a self, namespace: &'a str) -> Reply<'a, NamespaceState> {
        let live = self.live(namespace);
        match self.state(namespace) {
            exists @ NamespaceState::Exists(_) => Reply::Ready(exists),
            _ => Reply::Ready(live),
        }
    }

    fn confirm_now<'a>(&'a self, namespace: &'a str) -> Reply<'a, NamespaceState> {
        Reply::Ready(self.live(namespace))
    }
}

impl Rights for Script {
    fn check<'a>(&'a self, caller: &'a Caller, right: Right<'a>) -> Reply<'a, Verdict> {
        if self.undecided.load(Ordering::SeqCst) {
            return Reply::Ready(Verdict::Unavailable { retry_after: Duration::from_secs(7) });
        }
        self.rbac.check(caller, right)
    }
}

impl Reach for Script {
    fn away_for(&self) -> Option<Duration> {
        self.away.load(Ordering::SeqCst).then_some(Duration::from_secs(30))
    }
}

/// The user is the claim `sub`.
impl TokenReviewer for Script {
    fn review<'a>(&'a self, token: &'a str, _: bool) -> Reviewing<'a> {
        self.reviews.fetch_add(1, Ordering::SeqCst);
        let claims =
            token.split('.').nth(1).and_then(|part| data_encoding::BASE64URL_NOPAD.decode(part.as_bytes()).ok());
        let claims: serde_json::Value = serde_json::from_slice(&claims.unwrap_or_default()).unwrap_or_default();
        let result = match claims["sub"].as_str() {
            Some(user) if !self.revoked.lock().unwrap().contains(token) => Ok(Reviewed {
                user: user.to_owned(),
                uid: String::new(),
                groups: vec!["system:authenticated".to_owned()],
                extra: Default::default(),
                expires: None,
            }),
            _ => Err(ReviewError::Rejected("not a token of this cluster".to_owned())),
        };
        Box::pin(std::future::ready(result))
    }
}
